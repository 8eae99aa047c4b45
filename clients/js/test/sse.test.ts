/** Server-sent events, read however they are cut. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EventParser, type ServerSentEvent } from "../src/sse.js";
import { seeded } from "./random.js";

const TEXT = [
  "\ufeffretry: 1500\n\n",
  "id: b-1\ndata: one\n\n",
  ": heartbeat\r\n\r\n",
  "data:two\rdata:  lines\r\r",
  "event: missed\nid: b-3\ndata: {}\nunknown: x\n\n",
  "id: b-9\n\n",
  "event: lost\n\n",
  "data\n\n",
  "id: b-10\ndata: unended",
].join("");

const EVENTS: ServerSentEvent[] = [
  { event: "message", data: "one", lastId: "b-1" },
  { event: "message", data: "two\n lines", lastId: "b-1" },
  { event: "missed", data: "{}", lastId: "b-3" },
  { event: "message", data: "", lastId: "b-9" },
];

describe("an event parser", () => {
  it("gives the same events however the text is cut", () => {
    const random = seeded(5);
    for (let run = 0; run < 500; run++) {
      const parser = new EventParser();
      const events: ServerSentEvent[] = [];
      for (let begin = 0; begin < TEXT.length;) {
        const end = begin + 1 + Math.floor(random() * 12);
        events.push(...parser.feed(TEXT.slice(begin, end)));
        begin = end;
      }
      assert.deepEqual(events, EVENTS);
      assert.deepEqual([parser.retryMs, parser.nComments, parser.lastId], [1500, 1, "b-9"]);
    }
  });

  it("goes on from the id that was read before", () => {
    const parser = new EventParser("b-4");
    assert.deepEqual([...parser.feed("data: x\n\n")], [{ event: "message", data: "x", lastId: "b-4" }]);
  });
});
