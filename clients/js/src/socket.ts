/** A link over one WebSocket: frames are answered in their order, and many may be in flight. */

import { NoAnswer, StepaheadError } from "./errors.js";
import type { Http } from "./http.js";
import type { Ear, Link } from "./link.js";
import type { Frame } from "./pipeline.js";
import { badAnswer, keyProtocol, path, toError } from "./wire.js";

const PROTOCOL = "stepahead";
/** Close codes whose reason names an error of the contract; those from 4000 on are 4000 plus an HTTP status. */
const NAMED_CODES = [1009, 1012, 1013];

/** No WebSocket can be had here, while requests are answered: what lies between passes no upgrades on. */
export class NoWebSocket extends NoAnswer {}

/** The error that a closed connection stands for. */
export function closeError(code: number, reason: string): StepaheadError {
  const [, name, message] = /^([a-z_]+)(?::\s*(.*))?$/s.exec(reason) ?? [];
  const text = message ?? `the server ended the connection: ${reason || code}`;
  if (name !== undefined && code >= 4000) return toError({ code: name, message: text }, code - 4000);
  if (name !== undefined && NAMED_CODES.includes(code)) return toError({ code: name, message: text });
  return new NoAnswer(`the connection ended: ${[code, reason].join(" ").trim()}`);
}

/** Sends frames as text messages. */
export class SocketLink implements Link {
  readonly #http: Http;
  readonly #model: string;
  readonly #ear: Ear;
  readonly #socket: WebSocket;
  #nAwaited = 0;
  #isOpen = false;
  #isAsking = false;
  #isOver = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(http: Http, model: string, feed: string, experts: boolean, kind: typeof WebSocket, ear: Ear) {
    this.#http = http;
    this.#model = model;
    this.#ear = ear;
    const url = http.url(path("models", model, "socket"), { feed, experts: experts ? "true" : undefined });
    const protocols = http.apiKey === undefined ? [PROTOCOL] : [PROTOCOL, keyProtocol(http.apiKey)];
    this.#socket = new kind(url.replace(/^http/, "ws"), protocols);
    this.#socket.addEventListener("open", () => this.#opened());
    this.#socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => this.#received(data));
    this.#socket.addEventListener("close", ({ code, reason }) => this.#closed(code, reason));
    this.#socket.addEventListener("error", () => {
      if (!this.#isOpen) this.#closed(1006, ""); // a failed handshake, after which Node 20 tells no close
    });
    this.#await();
  }

  send(frame: Frame): void {
    this.#nAwaited++;
    if (this.#nAwaited === 1) this.#await();
    this.#socket.send(frame.json);
  }

  close(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#socket.close();
  }

  /** Nothing but silence ends a connection whose other side is gone without a word. */
  #await(): void {
    clearTimeout(this.#timer);
    const ms = this.#http.timeoutMs;
    if (ms === null) return;
    this.#timer = setTimeout(() => this.#end(new NoAnswer(`no answer within ${ms} milliseconds`)), ms);
  }

  #opened(): void {
    if (this.#isOver) return;
    this.#isOpen = true;
    clearTimeout(this.#timer);
    this.#ear.opened();
  }

  #received(data: unknown): void {
    if (this.#isOver) return;
    this.#nAwaited--;
    if (this.#nAwaited > 0) this.#await();
    else clearTimeout(this.#timer);
    let answer: unknown;
    try {
      answer = JSON.parse(String(data));
    } catch {
      this.#end(badAnswer(data));
      return;
    }
    this.#ear.answered(answer);
  }

  #closed(code: number, reason: string): void {
    if (this.#isOpen) this.#end(closeError(code, reason));
    else if (!this.#isAsking) void this.#askWhy();
  }

  /** Find out why a handshake failed, which a WebSocket does not tell: the same question by a request does. */
  async #askWhy(): Promise<void> {
    this.#isAsking = true;
    const body = JSON.stringify({ streams: [] });
    try {
      await this.#http.once({ method: "POST", path: path("models", this.#model, "sequences"), body });
      this.#end(new NoWebSocket("the WebSocket could not be opened, though requests are answered"));
    } catch (error) {
      this.#end(error instanceof StepaheadError ? error : this.#http.noAnswer(error));
    }
  }

  #end(error: StepaheadError): void {
    if (this.#isOver) return;
    this.close();
    this.#ear.broke(error);
  }
}
