/* What a person has entered. It is kept in this browser until the batch starts, so that it outlives a reload.

   form: as pipeline/web/dashboard/batch_form.py describes it; an item from a file of rows has the number of its `row`.
   images: the addresses of uploaded images by the names of their files. text: the manifest, if it was dropped or edited
   by hand; else null, and the form counts. table: the columns of a file of rows, and what was changed by hand. stamp: the
   end of the batch's id: a draft that is sent again after a reload is the same batch. */

const KEY = "dailies.new-batch";
const VERSION = 1;

/* Return an empty draft. `copyOf`: the batch that it is a copy of, or ''. */
export const emptyDraft = ({ copyOf, model, stamp }) => ({
  version: VERSION, copyOf, stamp, images: {}, text: null, table: null,
  form: { name: "", model, params: {}, budget: "", takes: 1, prompt: "", items: [], more: {} },
});

/* Return the stored draft, null if there is none. */
export function storedDraft() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY));
    return stored?.version === VERSION ? stored : null;
  } catch {
    return null; // It is damaged, or this browser stores nothing.
  }
}

/* Store the draft, unless nothing is entered. Return whether the browser has room for it. */
export function storeDraft(draft) {
  const { items, name, prompt } = draft.form;
  if (!items.length && !name && !prompt && draft.text === null) {
    dropDraft();
    return true;
  }
  try {
    localStorage.setItem(KEY, JSON.stringify(draft));
    return true;
  } catch {
    dropDraft();
    return false;
  }
}

export const dropDraft = () => localStorage.removeItem(KEY);
