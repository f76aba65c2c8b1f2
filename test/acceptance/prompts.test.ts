import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, request as startRequest } from "node:http";
import { after, before, beforeEach, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { booksOf, invoke, type Person, post, refused, service, signUp, succeed } from "../support/calls.ts";
import { type FakeGroq, Pace, startFakeGroq } from "../support/fake-groq.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { png } from "../support/png.ts";

const welcome = 5_000_000;
const price = 2_500;
const edit = { task: "edit_prompt", originalPromptText: "a fox", editInstructions: "make it red" };

for (const { name, start } of hosts) {
  describe(`prompts on ${name}`, () => {
    let groq: FakeGroq;
    let host: HostUnderTest;
    before(async () => {
      groq = await startFakeGroq();
      host = await start({ prompts: { GROQ_API_KEY: "gsk_test", GROQ_BASE_URL: groq.url } });
      for (const taskType of ["ai-prompt", "ai-voice-prompt"]) {
        await succeed(
          post(
            host,
            "publish-price",
            {
              task_type: taskType,
              billing_type: "per_unit",
              price_microusd: price,
              reason: "prompts cost",
              idempotency_key: taskType,
            },
            service(host),
          ),
        );
      }
    });
    beforeEach(() => void (groq.asked.length = 0));
    after(async () => {
      await host?.stop();
      await groq?.close();
    });

    test("an answer in pieces arrives as it is written", async () => {
      const person = await signUp(host);
      const pace = new Pace("a ");
      groq.behaves({ paced: pace });
      const events = await stream(person);
      assert.deepEqual(await events.next(), { event: "piece", data: { text: "a " } });
      // The model says more only now that the first piece is here.
      pace.send("red fox");
      assert.deepEqual(await events.next(), { event: "piece", data: { text: "red fox" } });
      pace.end();
      const last = await events.next();
      assert.deepEqual([last?.event, last?.data["newText"]], ["done", "a red fox"]);
      assert.equal(await events.next(), undefined);
      assert.deepEqual(await booksOf(host, person.userId), await paid(person, 1));
    });

    test("whoever hangs up ends the provider's request, and pays for what was sent", async () => {
      const person = await signUp(host);
      groq.behaves({ paced: new Pace("a red fox") });
      const hangUp = new AbortController();
      const events = await stream(person, { signal: hangUp.signal });
      await events.next();
      hangUp.abort();
      await groq.asked[0]?.left;
      const isHeld = async () =>
        (await host.sql`select from credit_accounts where user_id = ${person.userId} and held_microusd > 0`)
          .length > 0;
      while (await isHeld()) await new Promise((later) => setTimeout(later, 20));
      assert.deepEqual(await booksOf(host, person.userId), await paid(person, 1));
    });

    test("a provider that fails midway ends with an error event, and costs nothing", async () => {
      const person = await signUp(host);
      groq.behaves({ cut: "in the middle", text: "half of it" });
      const events = await stream(person);
      assert.equal((await events.next())?.event, "piece");
      const last = await events.next();
      assert.deepEqual([last?.event, last?.data["error"]], ["error", "provider_unavailable"]);
      assert.equal((await booksOf(host, person.userId)).balance, welcome);
      groq.behaves({ status: 500, retryAfter: 0 });
      const answer = await refused(invoke(person, "ai-prompt", edit), 503, "provider_unavailable");
      assert.ok(!JSON.stringify(answer.body).includes("org_secret"));
      assert.deepEqual(await booksOf(host, person.userId), await paid(person, 0));
      assert.ok(!host.logged().includes("org_secret"));
    });

    test("frames in storage reach the model; addresses inside do not", async () => {
      const person = await signUp(host);
      const frame = png({ colour: 0x12_34_56 });
      const bucket = person.client.storage.from("image_uploads");
      const path = `${person.userId}/frame.png`;
      assert.equal((await bucket.upload(path, frame, { contentType: "image/png" })).error, null);
      groq.behaves("It runs.");
      const request = { task: "enhance_segment_prompt", prompt: "a fox runs" };
      await succeed(
        invoke(person, "ai-prompt", { ...request, images: [bucket.getPublicUrl(path).data.publicUrl] }),
      );
      const parts = groq.asked[0]?.messages?.[1]?.content as { image_url?: { url: string } }[];
      assert.deepEqual(parts.map(({ image_url }) => image_url?.url).filter(Boolean), [
        `data:image/png;base64,${Buffer.from(frame).toString("base64")}`,
      ]);
      for (const address of [
        "http://127.0.0.1/a.png",
        "https://127.0.0.1/a.png",
        "https://[::ffff:169.254.169.254]/latest/meta-data/",
        "https://localhost/a.png",
        `${host.apiUrl}/storage/v1/object/public/../authenticated/image_uploads/${path}`,
        "file:///etc/passwd",
      ]) {
        await refused(invoke(person, "ai-prompt", { ...request, images: [address] }), 400, "invalid_request");
      }
      assert.equal(groq.asked.length, 1);
    });

    test("a recording reaches the model; forms beyond the limits reach nothing", async () => {
      const person = await signUp(host);
      groq.behaves("make it red", "a red fox");
      const said = await voice(person, recording());
      assert.deepEqual(
        [said.status, said.body["transcription"], said.body["prompt"]],
        [200, "make it red", "a red fox"],
      );
      const file = groq.asked[0]?.form?.["file"];
      assert.deepEqual(file, { name: "recording.wav", type: "audio/wav", size: wav(2).length });
      groq.asked.length = 0;
      const many = recording();
      for (let index = 0; index < 100; index++) many.append(`field-${index}`, "x");
      for (const [form, status, code] of [
        [recording({ bytes: new TextEncoder().encode("<html>") }), 400, "invalid_request"],
        [many, 400, "invalid_request"],
      ] as const) {
        const answer = await voice(person, form);
        assert.deepEqual([answer.status, answer.body["error"]], [status, code]);
      }
      assert.equal(await announced(person, 11 * 1024 * 1024), 413);
      assert.deepEqual(groq.asked, []);
    });

    test("what is compressed is refused before it is opened, as JSON and as a form", async () => {
      const person = await signUp(host);
      const bomb = gzipSync(Buffer.alloc(8 * 1024 * 1024));
      for (const [endpoint, type] of [
        ["ai-prompt", "application/json"],
        ["ai-voice-prompt", "multipart/form-data; boundary=x"],
      ] as const) {
        const answer = await fetch(`${host.apiUrl}/functions/v1/${endpoint}`, {
          method: "POST",
          headers: { ...person.credentials, "content-type": type, "content-encoding": "gzip" },
          body: new Uint8Array(bomb),
        });
        assert.equal(answer.status, 415, await answer.text());
      }
      assert.deepEqual(groq.asked, []);
    });

    test("what a prompt cost is in the statement and has a receipt; the doctor finds nothing", async () => {
      const person = await signUp(host);
      groq.behaves("a red fox");
      const key = randomUUID();
      const charged = [];
      for (let turn = 0; turn < 3; turn++) {
        const body = await succeed(invoke(person, "ai-prompt", { ...edit, idempotency_key: key }));
        charged.push((body["charge"] as { call_id: string }).call_id);
      }
      assert.equal(new Set(charged).size, 1);
      assert.equal(groq.asked.length, 1);
      const { entries } = (await succeed(invoke(person, "credit-statement", {}))) as unknown as {
        entries: Record<string, unknown>[];
      };
      const [spend] = entries;
      assert.deepEqual(
        [spend?.["type"], spend?.["amount_microusd"], spend?.["call_id"]],
        ["spend", -price, charged[0]],
      );
      const receipt = await succeed(invoke(person, "get-receipt", { call_id: charged[0] }));
      assert.deepEqual([receipt["task_type"], receipt["total_microusd"]], ["ai-prompt", price]);
      const other = await signUp(host);
      await refused(invoke(other, "get-receipt", { call_id: charged[0] }), 404, "entry_not_found");
      const doctor = await succeed(post(host, "run-doctor", {}, service(host)));
      assert.deepEqual(doctor["faults"], []);
    });

    /** What is left after so many prompts. */
    async function paid(person: Person, prompts: number) {
      const books = await booksOf(host, person.userId);
      return { ...books, balance: welcome - prompts * price, held: 0 };
    }

    async function voice(person: Person, form: FormData) {
      const answer = await fetch(`${host.apiUrl}/functions/v1/ai-voice-prompt`, {
        method: "POST",
        headers: person.credentials,
        body: form,
      });
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
    }

    /** The status of a form that is said to be so long; answered before it is there. */
    async function announced(person: Person, bytes: number): Promise<number | undefined> {
      const request = startRequest(`${host.apiUrl}/functions/v1/ai-voice-prompt`, {
        method: "POST",
        agent: false,
        headers: {
          ...person.credentials,
          "content-type": "multipart/form-data; boundary=x",
          "content-length": bytes,
        },
      });
      try {
        request.write("--x\r\n");
        const [answer] = (await once(request, "response")) as [IncomingMessage];
        return answer.statusCode;
      } finally {
        request.once("error", () => undefined).destroy();
      }
    }

    /** The events of an answer, each as it arrives; undefined after the last. */
    async function stream(person: Person, options: { signal?: AbortSignal } = {}) {
      const answer = await fetch(`${host.apiUrl}/functions/v1/ai-prompt`, {
        method: "POST",
        headers: { ...person.credentials, "content-type": "application/json" },
        body: JSON.stringify({ ...edit, stream: true }),
        ...options,
      });
      assert.match(answer.headers.get("content-type") ?? "", /^text\/event-stream/, String(answer.status));
      const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      return {
        async next(): Promise<{ event: string; data: Record<string, unknown> } | undefined> {
          while (!text.includes("\n\n")) {
            const read = await reader?.read();
            if (!read || read.done) return undefined;
            text += read.value;
          }
          const [block = "", ...rest] = text.split("\n\n");
          text = rest.join("\n\n");
          const [, event = "", data = "{}"] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
          return { event, data: JSON.parse(data) as Record<string, unknown> };
        },
      };
    }
  });
}

/** So many seconds of silence, as a WAV file. */
function wav(seconds: number): Uint8Array {
  const rate = 8_000;
  const file = Buffer.alloc(44 + rate * seconds);
  file.write("RIFF", 0, "latin1");
  file.writeUInt32LE(file.length - 8, 4);
  file.write("WAVEfmt ", 8, "latin1");
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20);
  file.writeUInt16LE(1, 22);
  file.writeUInt32LE(rate, 24);
  file.writeUInt32LE(rate, 28);
  file.writeUInt16LE(1, 32);
  file.writeUInt16LE(8, 34);
  file.write("data", 36, "latin1");
  file.writeUInt32LE(rate * seconds, 40);
  return file;
}

function recording({ bytes = wav(2) } = {}): FormData {
  const form = new FormData();
  form.set("audio", new File([bytes as BlobPart], "recording.wav", { type: "audio/wav" }));
  return form;
}
