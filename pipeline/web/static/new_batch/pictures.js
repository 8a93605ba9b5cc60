/* Dropped images: each is uploaded at once under the name of its file, so that the batch starts without a delay. */
import { fileKey } from "./dom.js";

const MAX_CONCURRENT_UPLOADS = 3;

export class Pictures {
  /* `images`: addresses by name, of images that were uploaded before. `onChange` is called when a state changes. */
  constructor(images, maxMb, onChange) {
    this.maxMb = maxMb;
    this.onChange = onChange;
    this.uploads = 0;
    this.byKey = new Map(Object.entries(images).map(([name, uri]) => [fileKey(name), { name, uri, state: "uploaded" }]));
  }

  find = (name) => this.byKey.get(fileKey(name));

  get images() {
    return Object.fromEntries([...this.byKey.values()].filter(({ uri }) => uri).map(({ name, uri }) => [name, uri]));
  }

  get areUploading() {
    return [...this.byKey.values()].some(({ state }) => state === "waiting" || state === "uploading…");
  }

  /* Return a name for a file: its own, with a number if another image has it. */
  freeName(name) {
    const [, stem, ending] = name.match(/^(.*?)(\.\w+)?$/s);
    let free = name;
    for (let number = 2; this.find(free); number += 1) free = `${stem}-${number}${ending ?? ""}`;
    return free;
  }

  /* Add a file under a name. One of the same name is replaced. */
  add(file, name) {
    const isTooLarge = file.size > this.maxMb * 1024 * 1024;
    const size = (file.size / 1024 / 1024).toFixed(1);
    const picture = {
      name, file, uri: null, preview: URL.createObjectURL(file), state: isTooLarge ? "upload failed" : "waiting",
      error: isTooLarge ? `The file has ${size} MB. An image can have at most ${this.maxMb} MB.` : "",
    };
    this.remove(name);
    this.byKey.set(fileKey(name), picture);
    this.uploadNext();
    this.onChange();
  }

  remove(name) {
    const picture = this.find(name);
    if (picture?.preview) URL.revokeObjectURL(picture.preview);
    this.byKey.delete(fileKey(name));
  }

  uploadNext() {
    for (const picture of this.byKey.values()) {
      if (this.uploads >= MAX_CONCURRENT_UPLOADS) return;
      if (picture.state === "waiting") this.upload(picture);
    }
  }

  async upload(picture) {
    this.uploads += 1;
    picture.state = "uploading…";
    try {
      const type = picture.file.type || "application/octet-stream";
      picture.uri = (await ui.request("/api/v1/inputs", { body: picture.file, type })).uri;
      picture.state = "uploaded";
    } catch (error) {
      picture.state = "upload failed";
      picture.error = error.message;
    }
    this.uploads -= 1;
    this.uploadNext();
    this.onChange();
  }
}
