/** When a failed call is sent again. */

import type { StepaheadError } from "./errors.js";

/** Growing delays with jitter; a server that asks to wait is given the time. */
export interface RetryPolicy {
  /** How often the same call is sent again; 0 for never. */
  readonly retries: number;
  /** First delay; it doubles each time. */
  readonly baseS: number;
  /** Longest delay of the client's own. */
  readonly capS: number;
  /** Longest wait that the server may ask for; when it asks for more, the error is thrown at once. */
  readonly patienceS: number;
}

export const DEFAULT_POLICY: RetryPolicy = { retries: 5, baseS: 0.2, capS: 5, patienceS: 60 };

/**
 * Milliseconds until the next attempt; `undefined` when there is none.
 *
 * @param attempt - How often the call was sent again already.
 * @param error - What came of it.
 * @param jitter - In [0, 1), so that many clients do not come back at once.
 */
export function delayMs(
  policy: RetryPolicy,
  attempt: number,
  error: StepaheadError,
  jitter: number,
): number | undefined {
  const askedS = error.retryAfterS ?? 0;
  if (!error.retried || attempt >= policy.retries || askedS > policy.patienceS) return undefined;
  if ("max_snapshots" in error.data) return undefined; // room for a snapshot is made by deleting one
  const backoffS = (Math.min(policy.capS, policy.baseS * 2 ** attempt) * (1 + jitter)) / 2;
  return 1000 * Math.max(backoffS, askedS * (1 + jitter / 4));
}

/** Wait; ends early with the signal's reason. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const end = (): void => {
      signal?.removeEventListener("abort", abort);
      resolve();
    };
    const timer = setTimeout(end, ms);
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", abort, { once: true });
  });
}
