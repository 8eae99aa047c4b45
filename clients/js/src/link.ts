/** What carries frames to the service and their answers back. */

import type { StepaheadError } from "./errors.js";
import type { Frame } from "./pipeline.js";

/** How frames are carried: over one WebSocket, or as requests, one after the other. */
export type Via = "websocket" | "requests";

/** One connection; it is made once, and made anew after a break. */
export interface Link {
  /** Only once it is open. */
  send(frame: Frame): void;
  /** End it; nothing is told from then on. */
  close(): void;
}

/** Who is told what happens to a link. */
export interface Ear {
  opened(): void;
  /** The answer to the oldest frame without one. */
  answered(answer: unknown): void;
  /** It ended, or never opened; told at most once. */
  broke(error: StepaheadError): void;
}
