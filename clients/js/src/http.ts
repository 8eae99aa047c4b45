/** One call over HTTP: sent until it is answered or the policy gives up. */

import { NoAnswer, StepaheadError } from "./errors.js";
import { DEFAULT_POLICY, delayMs, pause, type RetryPolicy } from "./retry.js";
import { badAnswer, isObject, toError } from "./wire.js";

export const DEFAULT_TIMEOUT_MS = 30_000;

/** How a client reaches its service. */
export interface HttpOptions {
  /** Sent as `Authorization: Bearer`; absent for a service without keys. */
  apiKey?: string | undefined;
  /** Milliseconds for each attempt; `null` to wait for ever. */
  timeoutMs?: number | null | undefined;
  /** How often a failed call is sent again. */
  retries?: number | undefined;
  /** What carries the requests; the global `fetch` if absent. */
  fetch?: typeof globalThis.fetch | undefined;
}

/** A query; what is undefined is left out, what is a list is said once for each. */
export type Params = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** One request; sent again as it is. */
export interface Call {
  readonly method: "DELETE" | "GET" | "PATCH" | "POST" | "PUT";
  readonly path: string;
  /** JSON. */
  readonly body?: string;
  readonly params?: Params;
  readonly signal?: AbortSignal | undefined;
  /** Is set where an attempt before the last may have been done. */
  readonly doubt?: { inDoubt: boolean };
}

/** The address of a service, and how it is asked. */
export class Http {
  readonly apiKey: string | undefined;
  readonly timeoutMs: number | null;
  readonly policy: RetryPolicy;
  readonly #base: string;
  readonly #fetch: typeof globalThis.fetch;

  /** @throws TypeError - If the URL is not an absolute http or https one. */
  constructor(url: string | URL, options: HttpOptions = {}) {
    const base = URL.canParse(url) ? new URL(url) : undefined;
    if (base === undefined || !["http:", "https:"].includes(base.protocol) || base.search || base.hash) {
      throw new TypeError(`the service's address is an http:// or https:// URL, got ${JSON.stringify(String(url))}`);
    }
    if (base.username || base.password) throw new TypeError("the service's address takes no password: give an apiKey");
    this.#base = base.href.replace(/\/+$/, "");
    this.apiKey = options.apiKey;
    this.timeoutMs = options.timeoutMs === undefined ? DEFAULT_TIMEOUT_MS : options.timeoutMs;
    this.policy = { ...DEFAULT_POLICY, retries: options.retries ?? DEFAULT_POLICY.retries };
    const given = options.fetch;
    this.#fetch = given ?? ((input, init) => globalThis.fetch(input, init));
  }

  /** The whole address of a path. */
  url(path: string, params: Params = {}): string {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(params)) {
      for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) query.append(name, String(one));
    }
    return this.#base + path + (query.size > 0 ? `?${query}` : "");
  }

  /** The headers of every request. */
  headers(accept: string): Record<string, string> {
    return this.apiKey === undefined ? { Accept: accept } : { Accept: accept, Authorization: `Bearer ${this.apiKey}` };
  }

  /**
   * Send one request until it is answered, and give the answer's JSON; `undefined` for an answer without.
   *
   * @throws StepaheadError - The last failure.
   */
  async call(call: Call): Promise<unknown> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.once(call);
      } catch (error) {
        if (!(error instanceof StepaheadError)) throw error;
        // An attempt whose answer was lost has done it.
        if (attempt > 0 && call.method === "DELETE" && error.status === 404) return undefined;
        const delay = delayMs(this.policy, attempt, error, Math.random());
        if (delay === undefined) throw error;
        if (call.doubt) call.doubt.inDoubt ||= error.outcomeUnknown;
        await pause(delay, call.signal);
      }
    }
  }

  /**
   * Send one request once.
   *
   * @throws StepaheadError - If it failed, or was not answered in time.
   */
  async once(call: Call): Promise<unknown> {
    const headers = this.headers("application/json");
    if (call.body !== undefined) headers["Content-Type"] = "application/json";
    const init: RequestInit = { method: call.method, headers, cache: "no-store" };
    if (call.body !== undefined) init.body = call.body;
    return this.within(call.signal, async (signal) => {
      const response = await this.#fetch(this.url(call.path, call.params), { ...init, signal });
      const text = await response.text();
      if (!response.ok) throw failure(response, text);
      return text === "" ? undefined : parse(text);
    });
  }

  /**
   * Open an answer that goes on: its body is read by the caller, as long as the signal allows.
   *
   * @throws StepaheadError - If it was refused, or did not begin in time.
   */
  async open(path: string, params: Params, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
    const late = new AbortController();
    const timer = this.timeoutMs === null ? undefined : setTimeout(() => late.abort(), this.timeoutMs);
    const abort = (): void => late.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    try {
      const init: RequestInit = { headers, cache: "no-store", signal: late.signal };
      const response = await this.#fetch(this.url(path, params), init);
      if (!response.ok) throw failure(response, await response.text());
      return response;
    } catch (error) {
      signal.removeEventListener("abort", abort);
      signal.throwIfAborted();
      throw error instanceof StepaheadError ? error : this.noAnswer(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** A lost request or answer. */
  noAnswer(cause: unknown): NoAnswer {
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const why = inner instanceof Error ? inner.message || inner.name : String(inner);
    return new NoAnswer(`no answer from ${this.#base}: ${why}`, { cause });
  }

  /** Run with a signal that ends with the caller's, or after the timeout as a lost answer. */
  async within<T>(given: AbortSignal | undefined, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    given?.throwIfAborted();
    const controller = new AbortController();
    const abort = (): void => controller.abort(given?.reason);
    given?.addEventListener("abort", abort, { once: true });
    const ms = this.timeoutMs;
    const late = (): void => controller.abort(new Error(`not within ${ms} milliseconds`));
    const timer = ms === null ? undefined : setTimeout(late, ms);
    try {
      return await run(controller.signal);
    } catch (error) {
      given?.throwIfAborted();
      throw error instanceof StepaheadError ? error : this.noAnswer(error);
    } finally {
      clearTimeout(timer);
      given?.removeEventListener("abort", abort);
    }
  }
}

/** The error that an unsuccessful answer stands for. */
function failure(response: Response, text: string): StepaheadError {
  const asked = response.headers.get("retry-after") ?? "";
  const retryAfterS = /^\d+$/.test(asked) ? Number(asked) : undefined;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined; // a proxy's page, not the service
  }
  const data = isObject(body) && isObject(body["error"]) ? body["error"] : undefined;
  const requestId = response.headers.get("x-request-id") ?? undefined;
  return toError(data ?? { message: `HTTP ${response.status}`, request_id: requestId }, response.status, retryAfterS);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw badAnswer(text);
  }
}
