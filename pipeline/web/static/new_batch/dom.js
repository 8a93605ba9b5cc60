/* Small helpers for the page of a new batch. */

/* Return a new element with these properties and children. */
export function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/* Whether an image is named as a file, not by its address. */
export const isFile = (image) => Boolean(image) && !image.includes("://");

/* What of a file's name is compared, as pipeline/manifest/uploaded_images.py does: not its folder, not its case. */
export const fileKey = (name) => name.split(/[/\\]/).pop().normalize("NFC").toLowerCase();
