// The takes of this session, the newest first.

const MOST = 30; // a second of speech is 48 kB

export class History {
  #rows = new Map(); // by take, the oldest first

  /** choose: is called with the take that somebody wants to hear. */
  constructor(section, choose) {
    this.section = section;
    this.choose = choose;
  }

  get newest() {
    return [...this.#rows.keys()].at(-1) ?? null;
  }

  add(take) {
    const row = new Row(take, () => this.choose(take));
    this.#rows.set(take, row);
    this.section.querySelector("ol").prepend(row.item);
    if (this.#rows.size > MOST) {
      const [oldest, { item }] = this.#rows.entries().next().value;
      this.#rows.delete(oldest);
      item.remove();
    }
  }

  show(current) {
    this.section.hidden = this.#rows.size < 2;
    for (const [take, row] of this.#rows) row.show(take === current);
  }
}

class Row {
  constructor(take, choose) {
    this.take = take;
    this.item = document.createElement("li");
    this.button = Object.assign(document.createElement("button"), { type: "button" });
    this.button.addEventListener("click", choose);
    const play = Object.assign(document.createElement("span"), { className: "unseen", textContent: "Play " });
    const words = Object.assign(document.createElement("span"), { className: "words", textContent: take.asked.input });
    this.figures = Object.assign(document.createElement("span"), { className: "quiet" });
    this.button.append(play, words, this.figures);
    this.item.append(this.button);
  }

  show(isCurrent) {
    const { asked, seconds } = this.take;
    const figures = `${asked.voice} · ${seconds.toFixed(1)} s · seed ${asked.seed}${(asked.speed ?? 1) === 1 ? "" : ` · speed ${asked.speed}`}`;
    if (this.figures.textContent !== figures) this.figures.textContent = figures;
    if (isCurrent) this.button.setAttribute("aria-current", "true");
    else this.button.removeAttribute("aria-current");
  }
}
