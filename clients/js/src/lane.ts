/** One stream's rows on their way: their numbers, and what an answer does to them. No I/O, no clock. */

import { SequenceGap, SequenceStale, SequenceTaken, StepaheadError } from "./errors.js";
import type { Reply } from "./types.js";

/** Numbers that an item is given before it is `SequenceTaken`. */
const MAX_NUMBERS = 64;

/** One row in the contract's form. */
export interface Observation {
  readonly stream: string;
  /** The JSON of all but the sequence, without the closing brace. */
  readonly json: string;
  /** As the caller numbered it; `null` numbers it on the stream's last. */
  readonly sequence: number | null;
}

/** What came of a row. */
export type Outcome = Reply | StepaheadError;

/** A row and what is known of it. */
export interface Entry {
  readonly index: number;
  readonly observation: Observation;
  readonly lane: Lane;
  /** `held` is answered, and sent again once all of its stream in flight is. */
  state: "waiting" | "flying" | "held" | "settled";
  /** Under which it was sent last; `null` where it is to be numbered. */
  number: number | null;
  /** Whether it may have been applied under its number. */
  inDoubt: boolean;
  /** Whether an item before it was refused for good, or numbered anew, so that its number may lie behind a gap. */
  orphaned: boolean;
  /** How often it was refused for now. */
  attempts: number;
  /** How many numbers did not serve. */
  nNumbers: number;
}

/** What a lane asks of the pipeline. */
export interface Owner {
  /** Milliseconds until an item that was refused with this error is sent again; `undefined` for never. */
  delayMs(attempts: number, error: StepaheadError): number | undefined;
  /** Keep the outcome of a row. */
  settled(entry: Entry, outcome: Outcome): void;
}

/** A stream with rows that have no outcome yet, or had some lately. */
export class Lane {
  readonly name: string;
  /** In order, from the oldest one that has no outcome. */
  entries: Entry[] = [];
  nFlying = 0;
  /** The number that the server waits for, as it last showed; `null` where it is to be asked. */
  expected: number | null = null;
  /** Whether a question for that number is in flight. */
  asking = false;
  /** Whether a question for it and others was refused. */
  alone = false;
  /** Nothing is sent before. */
  resumeAtMs = 0;
  readonly #owner: Owner;
  /** The number after the last one in flight; `null` with none in flight. */
  #following: number | null = null;
  /** Whether nothing is sent until all in flight is answered. */
  #halted = false;
  /** Whether another writer was met. */
  #shared = false;
  /** Index of the last row that was applied. */
  #lastApplied = -1;

  constructor(name: string, owner: Owner) {
    this.name = name;
    this.#owner = owner;
  }

  add(index: number, observation: Observation): Entry {
    const entry: Entry = {
      index,
      observation,
      lane: this,
      state: "waiting",
      number: null,
      inDoubt: false,
      orphaned: false,
      attempts: 0,
      nNumbers: 0,
    };
    this.entries.push(entry);
    return entry;
  }

  /** Whether a waiting row may be sent now, as far as its stream goes; those before it must be. */
  takes(entry: Entry, nowMs: number, perStream: number): boolean {
    if (this.#halted || this.asking || this.resumeAtMs > nowMs) return false;
    // Counted from the oldest without outcome: of all behind it the server must still have the replies.
    return this.entries.indexOf(entry) < (this.#shared ? 1 : perStream);
  }

  /**
   * The number that a row leaves under; `null` where the server must be asked.
   *
   * @param before - Number of the row before it in the same frame, if there is one.
   */
  numberFor(entry: Entry, before: number | undefined): number | null {
    if (entry.observation.sequence !== null) return entry.observation.sequence;
    if (entry.inDoubt) return entry.number;
    // Rows in doubt may lie before others that have their replies, so what follows them need not be next.
    return this.expected === null ? null : Math.max(this.expected, this.#following ?? 0, (before ?? 0) + 1);
  }

  /** Take note that a row is in flight. */
  sent(entry: Entry, number: number): void {
    entry.number = number;
    entry.state = "flying";
    this.nFlying++;
    this.#following = number + 1;
  }

  /** Take the answer to a row in flight. */
  answered(entry: Entry, result: Outcome, nowMs: number): void {
    this.nFlying--;
    if (result instanceof StepaheadError) this.#refused(entry, result, nowMs);
    else if (result.duplicate && !isOwn(entry)) this.#takenBefore(entry);
    else {
      // A duplicate tells where the stream was, not where it is.
      if (!result.duplicate) this.expected = result.sequence + 1;
      else if (this.expected !== null) this.expected = Math.max(this.expected, result.sequence + 1);
      this.#lastApplied = entry.index;
      this.#settle(entry, result);
    }
    if (this.nFlying === 0) this.#drained();
  }

  /** Take note that no answer will come to what is in flight. */
  broke(): void {
    this.asking = false;
    if (this.nFlying === 0) return;
    for (const entry of this.entries) {
      if (entry.state !== "flying") continue;
      entry.state = "held";
      entry.inDoubt = true;
    }
    this.nFlying = 0;
    this.#drained();
  }

  /** Give every row the same error, as none of them can be sent. */
  refuseAll(error: StepaheadError): void {
    for (const entry of [...this.entries]) if (entry.state !== "settled") this.#settle(entry, error);
  }

  #refused(entry: Entry, error: StepaheadError, nowMs: number): void {
    if (error instanceof SequenceStale && !isOwn(entry)) {
      this.#takenBefore(entry);
      return;
    }
    if (error instanceof SequenceGap && (this.#isBehind(entry) || this.#beginsAnew(entry, error))) {
      if (!this.#isBehind(entry)) this.#orphan(entry);
      // Where its number stays, an attempt over a connection that broke may still arrive late, and is its own.
      if (!this.#isBehind(entry) || entry.orphaned || this.#shared) entry.inDoubt = false;
      this.expected = error.expected ?? null;
      this.#hold(entry);
      return;
    }
    const delay = this.#owner.delayMs(entry.attempts, error);
    if (delay === undefined) {
      this.#drop(entry, error);
      return;
    }
    entry.attempts++;
    entry.inDoubt ||= error.outcomeUnknown;
    this.resumeAtMs = Math.max(this.resumeAtMs, nowMs + delay);
    this.#hold(entry);
  }

  /** Whether a row before it is to be sent again, which closes its gap. */
  #isBehind(entry: Entry): boolean {
    return this.entries.some((other) => other.index < entry.index && other.state !== "settled");
  }

  /** Whether a row before which none is missing takes the number that the server waits for. */
  #beginsAnew(entry: Entry, gap: SequenceGap): boolean {
    if (entry.observation.sequence !== null) return false;
    const isForgotten = gap.expected === 1; // the stream was deleted, or has expired
    return (isForgotten || entry.orphaned || this.#shared) && ++entry.nNumbers < MAX_NUMBERS;
  }

  /** Those behind a row will have other numbers. */
  #orphan(entry: Entry): void {
    for (const other of this.entries) if (other.index > entry.index) other.orphaned = true;
  }

  #takenBefore(entry: Entry): void {
    this.#shared = true;
    entry.nNumbers++;
    // The next number is tried at once, as a writer that asks first is always behind one that does not; every second
    // time the server is asked, as the other may be far ahead.
    this.expected = entry.nNumbers % 2 && entry.number !== null ? entry.number + 1 : null;
    if (entry.nNumbers < MAX_NUMBERS) this.#hold(entry);
    else this.#drop(entry, taken(entry));
  }

  #hold(entry: Entry): void {
    entry.state = "held";
    this.#halted = true;
  }

  #drop(entry: Entry, error: StepaheadError): void {
    if (error instanceof SequenceGap || error instanceof SequenceStale) this.expected = error.expected ?? null;
    else if (entry.inDoubt || error.outcomeUnknown) this.expected = null;
    this.#halted = true;
    this.#orphan(entry);
    this.#settle(entry, error);
  }

  /** All in flight is answered, or lost: what has no outcome is sent again. */
  #drained(): void {
    this.#halted = false;
    this.#following = null;
    for (const entry of [...this.entries]) {
      if (entry.state !== "held") continue;
      if (!isOwn(entry) && this.#lastApplied > entry.index) {
        this.#settle(entry, taken(entry)); // a later one was applied: it would come out of order
      } else {
        entry.state = "waiting";
      }
    }
  }

  #settle(entry: Entry, outcome: Outcome): void {
    entry.state = "settled";
    const begin = this.entries.findIndex((other) => other.state !== "settled");
    this.entries = begin < 0 ? [] : this.entries.slice(begin);
    this.#owner.settled(entry, outcome);
  }
}

/** Whether a duplicate is the expected answer to a row: it was sent before, or its sender numbered it. */
function isOwn(entry: Entry): boolean {
  return entry.inDoubt || entry.observation.sequence !== null;
}

function taken(entry: Entry): SequenceTaken {
  const { name } = entry.lane;
  return new SequenceTaken(
    `another writer took sequence ${entry.number} of stream ${JSON.stringify(name)}; the item was not applied`,
    { data: { stream: name, received: entry.number } },
  );
}
