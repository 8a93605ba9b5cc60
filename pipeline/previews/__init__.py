"""Previews: posters of videos and thumbnails of images, made from files that nobody here has checked.

Decoders of media have faults, so a process of its own decodes each file: without secrets, with limits of memory, time
and pixels. Imports: domain and below; only `render` imports Pillow and PyAV, which may be missing.
"""
