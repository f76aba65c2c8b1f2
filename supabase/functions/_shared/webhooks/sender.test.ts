import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { promisify } from "node:util";
import { Webhook } from "standardwebhooks";
import { projectPath } from "../../../../server/migrate.ts";
import { denoBinary } from "../../../../test/support/hosts.ts";
import { startReceiver } from "../../../../test/support/webhooks.ts";
import { readHead, retryAfterOf } from "../outgoing/head.ts";
import { createWebhookSender, type Outcome } from "./sender.ts";
import { newSecret, signatureHeaders } from "./signature.ts";

const payload = JSON.stringify({
  type: "task.complete",
  timestamp: "2026-01-01T00:00:00.000Z",
  data: { a: "ä 🎞" },
});

async function sendTo(
  url: string,
  { secrets = [newSecret()], timeoutMilliseconds = 5_000 } = {},
): Promise<Outcome> {
  const sender = createWebhookSender({ allowPrivate: true, timeoutMilliseconds });
  return await sender.send({
    delivery_id: "msg_1",
    claim_id: "c",
    endpoint_id: "e",
    attempt: 1,
    url,
    payload,
    secrets,
  });
}

/** A server that says exactly these bytes, once it has been sent something. */
async function startTalker(talk: (socket: Socket) => void): Promise<{ url: string; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    // Whoever sent may have gone before it was answered.
    socket.on("error", () => socket.destroy());
    socket.once("data", () => talk(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

test("signatures are those of the published vector", () => {
  const headers = signatureHeaders(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], {
    id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
    payload: '{"test": 2432232314}',
    at: new Date(1_614_265_330_000),
  });
  assert.deepEqual(headers, {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  });
});

test("secrets are whsec_ and 32 random bytes, each another", () => {
  const secrets = new Set(Array.from({ length: 100 }, newSecret));
  assert.equal(secrets.size, 100);
  for (const secret of secrets) {
    assert.equal(Buffer.from(secret.replace(/^whsec_/, ""), "base64").length, 32);
  }
});

test("what arrives is verified by the library with either secret of a rotation, and with no other", async () => {
  const receiver = await startReceiver();
  try {
    const [current, earlier] = [newSecret(), newSecret()];
    const outcome = await sendTo(receiver.url, { secrets: [current, earlier] });
    assert.equal(outcome.statusCode, 204);
    assert.ok(outcome.durationMs >= 0);
    const [{ headers, body } = { headers: {}, body: "" }] = receiver.received;
    assert.equal(body, payload);
    assert.equal(headers["content-type"], "application/json");
    assert.match(headers["user-agent"] ?? "", /^Darkroom-Webhooks\//);
    const signed = headers as Record<string, string>;
    for (const secret of [current, earlier])
      assert.deepEqual(new Webhook(secret).verify(body, signed), JSON.parse(payload));
    assert.throws(() => new Webhook(newSecret()).verify(body, signed));
    assert.throws(() => new Webhook(current).verify(`${body} `, signed));
    assert.throws(() => new Webhook(current).verify(body, { ...signed, "webhook-id": "msg_2" }));
  } finally {
    await receiver.close();
  }
});

test("every status is an outcome, and retry-after is read", async () => {
  for (const status of [200, 204, 301, 302, 307, 400, 404, 410, 429, 500, 503]) {
    const receiver = await startReceiver((response) =>
      response.writeHead(status, { "retry-after": "120", location: "/" }).end("x"),
    );
    try {
      const outcome = await sendTo(receiver.url);
      assert.deepEqual(
        [outcome.statusCode, outcome.retryAfterSeconds, outcome.error],
        [status, 120, undefined],
      );
      assert.equal(receiver.received.length, 1);
    } finally {
      await receiver.close();
    }
  }
});

test("a receiver that is silent, that trickles, that talks without end or nonsense costs its time and no memory", async () => {
  const cases: [string, (socket: Socket) => void, Partial<Outcome>][] = [
    ["silent", () => undefined, { error: "timeout" }],
    ["trickling", (socket) => void socket.write("HTTP/1.1 200 O"), { error: "timeout" }],
    ["hanging up", (socket) => socket.destroy(), { error: "invalid_answer" }],
    [
      "another protocol",
      (socket) => void socket.end("220 smtp.example.com ESMTP\r\n"),
      { error: "invalid_answer" },
    ],
    [
      "a status that is none",
      (socket) => void socket.end("HTTP/1.1 20x OK\r\n\r\n"),
      { error: "invalid_answer" },
    ],
    [
      "endless headers",
      (socket) => pour(socket, "HTTP/1.1 200 OK\r\n", `x: ${"y".repeat(1000)}\r\n`),
      { error: "invalid_answer" },
    ],
    [
      "endless body",
      (socket) => pour(socket, "HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n", "z".repeat(65_536)),
      { statusCode: 200 },
    ],
    [
      "interim answers",
      (socket) =>
        void socket.write(
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.0 202 Accepted\r\n\r\n",
        ),
      { statusCode: 202 },
    ],
  ];
  for (const [what, talk, expected] of cases) {
    const talker = await startTalker(talk);
    try {
      const { statusCode, error } = await sendTo(talker.url, { timeoutMilliseconds: 400 });
      assert.deepEqual({ ...(statusCode && { statusCode }), ...(error && { error }) }, expected, what);
    } finally {
      await talker.close();
    }
  }
});

/** As long as somebody listens. */
function pour(socket: Socket, first: string, again: string): void {
  socket.write(first);
  const more = () => {
    while (!socket.destroyed && socket.write(again));
    if (!socket.destroyed) socket.once("drain", more);
  };
  more();
}

test("nobody at the port", async () => {
  const receiver = await startReceiver();
  await receiver.close();
  assert.equal((await sendTo(receiver.url)).error, "connection_failed");
});

test("the head of an answer is read in whatever pieces it comes", () => {
  const text = "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\n\r\nbody";
  for (let length = 0; length < text.indexOf("body"); length++)
    assert.equal(readHead(text.slice(0, length)), undefined);
  const head = readHead(text);
  assert.ok(head);
  assert.deepEqual([head.statusCode, retryAfterOf(head), text.slice(head.bytes)], [429, 7, "body"]);
});

test("TLS is checked against the URL's name, at the address that was checked, on Node and on Deno", async () => {
  const pem = await readFile(projectPath("test/fixtures/webhook-receiver.pem"), "utf8");
  const authority = projectPath("test/fixtures/webhook-authority.pem");
  let requests = 0;
  const server = createTlsServer({ key: pem, cert: pem }, (request, response) => {
    requests++;
    request.resume().on("end", () => response.writeHead(202).end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const script = projectPath("test/support/send-webhook.ts");
  const functions = projectPath("supabase/functions");
  const deno = [
    "run",
    "--allow-net",
    "--allow-env",
    "--allow-read",
    "--allow-sys",
    "--no-prompt",
    "--no-lock",
    `--config=${functions}/deno.json`,
    "--node-modules-dir=manual",
    script,
  ];
  const runtimes: [string, string[], Record<string, string>][] = [
    [process.execPath, ["--import", "tsx", script], { NODE_EXTRA_CA_CERTS: authority }],
    [await denoBinary(), deno, { DENO_CERT: authority, DENO_NO_UPDATE_CHECK: "1" }],
  ];
  try {
    for (const [command, args, trusting] of runtimes) {
      const send = async (host: string, env: Record<string, string>): Promise<unknown> => {
        const { stdout } = await promisify(execFile)(command, [...args, `https://${host}:${port}/hook`], {
          cwd: projectPath(""),
          env: { HOME: process.env["HOME"], PATH: process.env["PATH"], ...env },
        });
        return JSON.parse(stdout) as unknown;
      };
      requests = 0;
      assert.deepEqual(await send("hooks.example.test", trusting), { statusCode: 202 }, command);
      assert.equal(requests, 1);
      assert.deepEqual(await send("other.example.test", trusting), { error: "tls_failed" }, command);
      assert.deepEqual(await send("hooks.example.test", {}), { error: "tls_failed" }, command);
      assert.equal(requests, 1);
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
