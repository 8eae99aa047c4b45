/** Drives a pipeline: reads rows, keeps a connection, hands out outcomes. */

import type { StepaheadError } from "./errors.js";
import type { Outcome } from "./lane.js";
import type { Ear, Link } from "./link.js";
import type { Pipeline } from "./pipeline.js";
import { delayMs, type RetryPolicy } from "./retry.js";
import { toObservation } from "./rows.js";
import { NoWebSocket } from "./socket.js";
import type { RowLike } from "./types.js";

/** How long what is in flight is awaited when a feed is left. */
const LEAVE_MS = 1000;

export interface FeedOptions {
  readonly pipeline: Pipeline;
  readonly rows: Iterable<RowLike> | AsyncIterable<RowLike>;
  readonly connect: (ear: Ear) => Link;
  /** How to go on, a frame at a time, where {@link connect} finds no WebSocket; `undefined` to try again. */
  readonly connectOtherwise?: ((ear: Ear) => Link) | undefined;
  readonly policy: RetryPolicy;
  /** Rows read before what was read is sent. */
  readonly chunk: number;
  readonly signal: AbortSignal | undefined;
}

/** Rows in, outcomes out; one connection at a time, made once there is something to send. */
export class Feed implements Ear {
  readonly #options: FeedOptions;
  readonly #pipeline: Pipeline;
  readonly #source: Iterator<RowLike> | AsyncIterator<RowLike>;
  #connection: (ear: Ear) => Link;
  #link: Link | undefined;
  #isOpen = false;
  #isReading = false;
  #isRead = false;
  #isClosed = false;
  #sourceError: { reason: unknown } | undefined;
  #failure: { reason: unknown } | undefined;
  #nBreaks = 0;
  #nSettledBefore = 0;
  #reconnecting: ReturnType<typeof setTimeout> | undefined;
  #resuming: ReturnType<typeof setTimeout> | undefined;
  #pumping: ReturnType<typeof setTimeout> | undefined;
  #wake: () => void = () => undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#pipeline = options.pipeline;
    this.#connection = options.connect;
    const { rows } = options;
    this.#source = Symbol.asyncIterator in rows ? rows[Symbol.asyncIterator]() : rows[Symbol.iterator]();
    options.signal?.addEventListener("abort", this.#abort, { once: true });
  }

  /**
   * The outcome of the next row; `undefined` once the rows have ended.
   *
   * @throws StepaheadError - If nothing can be sent any more, after all outcomes before.
   */
  async next(): Promise<Outcome | undefined> {
    for (;;) {
      this.#options.signal?.throwIfAborted();
      const found = this.#pipeline.take();
      void this.#read();
      if (found !== undefined) return found;
      const end = this.#failure ?? (this.#isRead && this.#pipeline.isDone ? (this.#sourceError ?? "end") : undefined);
      if (end === "end") return undefined;
      if (end !== undefined) throw end.reason;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** End the connection and the reading of rows. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.signal?.removeEventListener("abort", this.#abort);
    await this.#land();
    this.#leave();
    if (this.#isRead) return;
    const ended = Promise.resolve(this.#source.return?.());
    // A source that is being read ends only once it has given its next row, which may be never.
    if (this.#isReading) ended.catch(() => undefined);
    else await ended;
  }

  opened(): void {
    this.#isOpen = true;
    this.#pump();
  }

  answered(answer: unknown): void {
    try {
      this.#pipeline.answered(answer, performance.now());
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#pump();
    this.#wake();
  }

  broke(error: StepaheadError): void {
    this.#link = undefined;
    this.#isOpen = false;
    this.#pipeline.broke();
    const { connectOtherwise } = this.#options;
    if (error instanceof NoWebSocket && connectOtherwise !== undefined) {
      this.#connection = connectOtherwise;
      this.#pipeline.maxFrames = 1;
      this.#pump();
      return;
    }
    if (this.#pipeline.nSettled > this.#nSettledBefore) this.#nBreaks = 0;
    this.#nSettledBefore = this.#pipeline.nSettled;
    const delay = delayMs(this.#options.policy, this.#nBreaks++, error, Math.random());
    if (delay === undefined) {
      this.#fail(error);
      return;
    }
    this.#reconnecting = setTimeout(() => {
      this.#reconnecting = undefined;
      this.#pump();
    }, delay);
    this.#wake();
  }

  readonly #abort = (): void => this.#fail(this.#options.signal?.reason);

  #fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#leave();
    this.#wake();
  }

  /** Await what is in flight, so that the next call does not meet it as another writer; nothing more is sent. */
  async #land(): Promise<void> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#wake();
    }, LEAVE_MS);
    while (this.#isOpen && this.#pipeline.isFlying && !isLate) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    clearTimeout(timer);
  }

  #leave(): void {
    this.#link?.close();
    this.#link = undefined;
    for (const timer of [this.#reconnecting, this.#resuming, this.#pumping]) clearTimeout(timer);
    this.#isOpen = false;
  }

  /** Send what may be sent; make a connection where there is none. */
  #pump(): void {
    if (this.#isClosed || this.#failure !== undefined || this.#reconnecting !== undefined) return;
    if (this.#link === undefined) {
      if (this.#pipeline.isBusy) this.#connect();
      return;
    }
    if (!this.#isOpen) return;
    const nowMs = performance.now();
    for (let frame = this.#pipeline.send(nowMs); frame !== undefined; frame = this.#pipeline.send(nowMs)) {
      this.#link.send(frame);
    }
    clearTimeout(this.#resuming);
    const atMs = this.#pipeline.wakeAtMs(nowMs);
    if (atMs !== undefined) this.#resuming = setTimeout(() => this.#pump(), Math.ceil(atMs - nowMs) + 1);
  }

  #connect(): void {
    try {
      this.#link = this.#connection(this);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Read rows while there is room for them; what was read is sent once a chunk is full or the source pauses. */
  async #read(): Promise<void> {
    if (this.#isReading || this.#isRead) return;
    this.#isReading = true;
    try {
      for (let n = 1; this.#mayRead; n++) {
        const result = await this.#source.next();
        if (result.done) {
          this.#isRead = true;
          break;
        }
        this.#pipeline.add(toObservation(result.value));
        if (n % this.#options.chunk === 0) {
          this.#pump();
          await new Promise((resolve) => setTimeout(resolve)); // so that answers are taken meanwhile
        } else {
          this.#pumping ??= setTimeout(() => {
            this.#pumping = undefined;
            this.#pump();
          });
        }
      }
    } catch (reason) {
      this.#isRead = true;
      this.#sourceError = { reason };
    } finally {
      this.#isReading = false;
    }
    if (!this.#isRead) return;
    this.#pump();
    this.#wake();
  }

  get #mayRead(): boolean {
    return this.#pipeline.hasRoom && !this.#isClosed && this.#failure === undefined;
  }
}
