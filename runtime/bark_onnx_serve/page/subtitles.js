// The subtitles of a take beside its sound: all of them as a list, and the one that is being said.

export class Subtitles {
  #list;
  #shown = []; // the cues in the list
  #current = null; // its item

  constructor(list) {
    this.#list = list;
  }

  /** seconds: what is heard now; null: the take does not play. */
  show(take, seconds) {
    const { cues } = take;
    if (cues.length !== this.#shown.length || cues.some((cue, i) => cue.text !== this.#shown[i].text)) this.#fill(cues);
    this.#list.hidden = !cues.length;
    const said = seconds === null ? -1 : cues.findLastIndex(({ start }) => start <= seconds);
    const item = this.#list.children[said] ?? null;
    if (item === this.#current) return;
    this.#current?.removeAttribute("aria-current");
    item?.setAttribute("aria-current", "true");
    this.#current = item;
    // Not scrollIntoView, which would scroll the page too.
    if (item) this.#list.scrollTop = item.offsetTop - (this.#list.clientHeight - item.offsetHeight) / 2;
  }

  #fill(cues) {
    const before = this.#shown;
    const same = cues.findIndex((cue, i) => cue.text !== before[i]?.text);
    const kept = same < 0 ? cues.length : same;
    while (this.#list.children.length > kept) this.#list.lastChild.remove();
    for (const { text } of cues.slice(kept)) {
      this.#list.append(Object.assign(document.createElement("li"), { textContent: text }));
    }
    this.#shown = cues.map(({ text }) => ({ text }));
  }
}
