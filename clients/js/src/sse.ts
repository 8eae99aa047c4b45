/** Server-sent events, as the HTML standard parses them. No I/O. */

/** One event of a stream. */
export interface ServerSentEvent {
  /** `message` where the server names none. */
  readonly event: string;
  readonly data: string;
  /** The last id that was sent, with this event or before; empty for none. */
  readonly lastId: string;
}

/** Takes text as it arrives, cut anywhere, and gives events. */
export class EventParser {
  /** Milliseconds that the server asks a reader to wait before it comes back; `undefined` where it does not ask. */
  retryMs: number | undefined;
  /** The last id that was sent and ended by a blank line, with or without an event. */
  lastId: string;
  nComments = 0;
  #rest = "";
  #isBegun = false;
  #event = "";
  #data: string[] = [];
  #id: string;

  /** @param lastId - Of what was read before; empty for none. */
  constructor(lastId = "") {
    this.lastId = this.#id = lastId;
  }

  /** Take the next text; an event that is not ended by a blank line is kept back. */
  *feed(text: string): Generator<ServerSentEvent> {
    this.#rest += text;
    if (!this.#isBegun && this.#rest !== "") {
      this.#isBegun = true;
      if (this.#rest.startsWith("\ufeff")) this.#rest = this.#rest.slice(1);
    }
    let begin = 0;
    const ends = /\r\n|\n|\r/g;
    for (let end = ends.exec(this.#rest); end !== null; end = ends.exec(this.#rest)) {
      if (end[0] === "\r" && ends.lastIndex === this.#rest.length) break; // its \n may still come
      const found = this.#line(this.#rest.slice(begin, end.index));
      begin = ends.lastIndex;
      if (found !== undefined) yield found;
    }
    this.#rest = this.#rest.slice(begin);
  }

  #line(line: string): ServerSentEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) {
      this.nComments++;
      return undefined;
    }
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "event") this.#event = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return undefined;
  }

  #dispatch(): ServerSentEvent | undefined {
    this.lastId = this.#id;
    const found = { event: this.#event || "message", data: this.#data.join("\n"), lastId: this.lastId };
    const isEmpty = this.#data.length === 0;
    this.#event = "";
    this.#data = [];
    return isEmpty ? undefined : found;
  }
}
