"""Previews: posters of videos and thumbnails of images, made from files that are not checked before.

Decoders of media have faults, so a process of its own decodes each file: without secrets, with limits of memory, time
and pixels. Imports: domain and below; only `render` imports Pillow and PyAV, which may be missing.
"""
