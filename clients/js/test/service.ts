/** The service that runs for all tests. */

import { randomUUID } from "node:crypto";
import { Client, type ClientOptions, type Model, type RowLike } from "../src/index.js";

export const URL_OF_SERVICE = required("STEPAHEAD_TEST_URL");
export const KEY = required("STEPAHEAD_TEST_KEY");

/** A client with the key; of another address where one is given. */
export function connect(options: ClientOptions = {}, url = URL_OF_SERVICE): Client {
  return new Client(url, { apiKey: KEY, ...options });
}

/** A small model of the test's own. */
export function someModel(client = connect()): Promise<Model> {
  return client.createModel(`m-${randomUUID()}`, { load: "real" }, { hidden: 4, experts: "none" });
}

/** Rows of some streams in turn; the load tells the row. */
export function someRows(n: number, nStreams: number): RowLike[] {
  return Array.from({ length: n }, (_, i) => ({ stream: `s-${i % nStreams}`, item: { load: i } }));
}

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: npm test starts the service and sets it`);
  return value;
}
