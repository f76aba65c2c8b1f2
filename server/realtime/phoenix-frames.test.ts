import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeFrame, encodeMessage, MalformedFrame, OutgoingBroadcast } from "./phoenix-frames.ts";

/** A client's binary broadcast, as the lengths say or as a liar would have them. */
function binaryFrame(
  texts: string[],
  encoding: number,
  payload: string | Buffer,
  lengths?: number[],
): Buffer {
  const parts = texts.map((text) => Buffer.from(text));
  const header = [3, ...(lengths ?? parts.map((part) => part.length)), encoding];
  return Buffer.concat([Buffer.from(header), ...parts, Buffer.from(payload)]);
}

describe("decodeFrame()", () => {
  test("reads messages of both versions alike", () => {
    const expected = {
      kind: "message",
      joinRef: "1",
      ref: "2",
      topic: "realtime:room",
      event: "phx_join",
      payload: { config: {} },
    };
    const two = Buffer.from('["1","2","realtime:room","phx_join",{"config":{}}]');
    assert.deepEqual(decodeFrame(two, false, "2.0.0"), expected);
    const one = Buffer.from(
      '{"join_ref":"1","ref":"2","topic":"realtime:room","event":"phx_join","payload":{"config":{}}}',
    );
    assert.deepEqual(decodeFrame(one, false, "1.0.0"), expected);
  });

  test("reads a broadcast as text and as binary alike", () => {
    const expected = {
      kind: "broadcast",
      joinRef: "1",
      ref: "2",
      topic: "realtime:füchse",
      content: { event: "lauf", payload: '{"a":"ü"}' },
    };
    const binary = binaryFrame(["1", "2", "realtime:füchse", "lauf", '{"persist":true}'], 1, '{"a":"ü"}');
    assert.deepEqual(decodeFrame(binary, true, "2.0.0"), expected);
    const inner = { type: "broadcast", event: "lauf", payload: { a: "ü" } };
    const text = Buffer.from(JSON.stringify(["1", "2", "realtime:füchse", "broadcast", inner]));
    assert.deepEqual(decodeFrame(text, false, "2.0.0"), expected);
  });

  test("keeps bytes as bytes, and missing references as none", () => {
    const frame = decodeFrame(
      binaryFrame(["", "", "realtime:r", "e", ""], 0, Buffer.from([0, 255])),
      true,
      "2.0.0",
    );
    assert.ok(frame.kind === "broadcast");
    assert.deepEqual([frame.joinRef, frame.ref], [null, null]);
    assert.deepEqual(frame.content.payload, Buffer.from([0, 255]));
  });

  const texts: [string, string][] = [
    ["no JSON", "{"],
    ["an empty frame", ""],
    ["a number", "7"],
    ["null", "null"],
    ["an object in version 2", '{"topic":"realtime:a","event":"e","payload":{}}'],
    ["four parts", '[null,"1","realtime:a","e"]'],
    ["six parts", '[null,"1","realtime:a","e",{},1]'],
    ["a topic that is no text", '[null,"1",{"toString":1},"e",{}]'],
    ["a payload that is no object", '[null,"1","realtime:a","e",[]]'],
    ["a payload that is null", '[null,"1","realtime:a","e",null]'],
    ["a reference that is an object", '[null,{},"realtime:a","e",{}]'],
    ["a reference without end", `[null,"${"1".repeat(300)}","realtime:a","e",{}]`],
    ["a broadcast without an event", '[null,"1","realtime:a","broadcast",{"payload":{}}]'],
    [
      "a broadcast too deep to be printed",
      `[null,"1","realtime:a","broadcast",{"event":"e","payload":${"[".repeat(200_000)}${"]".repeat(200_000)}}]`,
    ],
  ];
  for (const [what, text] of texts) {
    test(`refuses ${what}`, () => {
      assert.throws(() => decodeFrame(Buffer.from(text), false, "2.0.0"), MalformedFrame);
    });
  }

  const names = ["1", "2", "realtime:a", "e", ""];
  const binaries: [string, Buffer][] = [
    ["nothing", Buffer.alloc(0)],
    ["half a header", Buffer.from([3, 1, 1])],
    ["another kind", Buffer.from([9, 0, 0, 0, 0, 0, 1])],
    ["lengths beyond its end", binaryFrame(names, 1, "{}", [1, 1, 255, 255, 255])],
    ["an unknown encoding", binaryFrame(names, 7, "{}")],
    ["JSON that is none", binaryFrame(names, 1, "{]")],
    ["no payload", binaryFrame(names, 1, "")],
    ["text that is not UTF-8", binaryFrame(names, 1, Buffer.from([0x22, 0xff, 0x22]))],
    [
      "a topic that is not UTF-8",
      Buffer.concat([Buffer.from([3, 0, 0, 1, 0, 0, 1, 0xff]), Buffer.from("{}")]),
    ],
  ];
  for (const [what, data] of binaries) {
    test(`refuses a binary frame with ${what}`, () => {
      assert.throws(() => decodeFrame(data, true, "2.0.0"), MalformedFrame);
    });
  }

  test("refuses binary frames in version 1", () => {
    assert.throws(() => decodeFrame(binaryFrame(names, 1, "{}"), true, "1.0.0"), MalformedFrame);
  });

  test("survives whatever bytes come", () => {
    let seed = 1;
    const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
    for (let round = 0; round < 5_000; round++) {
      const data = Buffer.from(Array.from({ length: random(40) }, () => random(256)));
      if (data.length > 0 && random(2) === 0) data[0] = 3;
      try {
        decodeFrame(data, random(2) === 0, "2.0.0");
      } catch (error) {
        assert.ok(error instanceof MalformedFrame);
      }
    }
  });

  test("takes keys of prototypes for keys like any other", () => {
    const text = '[null,"1","__proto__","constructor",{"__proto__":{"admin":true}}]';
    const frame = decodeFrame(Buffer.from(text), false, "2.0.0");
    assert.equal(frame.topic, "__proto__");
    assert.equal(({} as Record<string, unknown>)["admin"], undefined);
  });
});

describe("OutgoingBroadcast", () => {
  test("is binary in version 2 and text in version 1, with the JSON as it came", () => {
    const outgoing = new OutgoingBroadcast("realtime:ü", { event: "é", payload: '{"n": 1.0}' });
    const header = Buffer.from([4, 11, 2, 0, 1]);
    assert.deepEqual(
      outgoing.frame("2.0.0"),
      Buffer.concat([header, Buffer.from("realtime:üé"), Buffer.from('{"n": 1.0}')]),
    );
    assert.deepEqual(JSON.parse(String(outgoing.frame("1.0.0"))), {
      join_ref: null,
      ref: null,
      topic: "realtime:ü",
      event: "broadcast",
      payload: { type: "broadcast", event: "é", payload: { n: 1 } },
    });
    assert.equal(outgoing.frame("2.0.0"), outgoing.frame("2.0.0"), "encoded once");
  });

  test("is text where a name is too long for the header", () => {
    const outgoing = new OutgoingBroadcast("realtime:r", { event: "e".repeat(256), payload: "{}" });
    assert.deepEqual(JSON.parse(String(outgoing.frame("2.0.0"))), [
      null,
      null,
      "realtime:r",
      "broadcast",
      { type: "broadcast", event: "e".repeat(256), payload: {} },
    ]);
  });

  test("leaves out bytes where version 1 cannot carry them", () => {
    const outgoing = new OutgoingBroadcast("realtime:r", { event: "e", payload: Buffer.from([1, 2]) });
    assert.equal(outgoing.frame("1.0.0"), undefined);
    assert.deepEqual(
      outgoing.frame("2.0.0"),
      Buffer.concat([Buffer.from([4, 10, 1, 0, 0]), Buffer.from("realtime:re\u0001\u0002")]),
    );
  });
});

test("encodeMessage() writes an array in version 2 and an object in version 1", () => {
  const message = { joinRef: "1", ref: "2", topic: "t", event: "phx_reply", payload: { status: "ok" } };
  assert.equal(encodeMessage("2.0.0", message), '["1","2","t","phx_reply",{"status":"ok"}]');
  assert.equal(
    encodeMessage("1.0.0", message),
    '{"join_ref":"1","ref":"2","topic":"t","event":"phx_reply","payload":{"status":"ok"}}',
  );
});
