import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { BodyReader, BodyTooLarge } from "./body-reader.ts";
import { fetchFile, type FileLimits, FileNotFetched } from "./fetch-file.ts";
import { readHead } from "./head.ts";
import type { TargetPolicy } from "./target.ts";

const limits: FileLimits = { bytes: 1000, totalMilliseconds: 5_000, silenceMilliseconds: 2_000 };

interface Talker {
  origin: string;
  /** Request lines, in the order in which they came. */
  asked: string[];
  close(): Promise<void>;
}

/** A server of raw bytes, by the path that is asked for. */
async function startTalker(talk: (socket: Socket, path: string) => void): Promise<Talker> {
  const sockets = new Set<Socket>();
  const asked: string[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("data", (chunk: Buffer) => {
      const [line = ""] = chunk.toString("latin1").split("\r\n");
      asked.push(line);
      talk(socket, line.split(" ")[1] ?? "");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

async function withTalker(
  talk: (socket: Socket, path: string) => void,
  test: (talker: Talker, trusting: TargetPolicy) => Promise<void>,
): Promise<void> {
  const talker = await startTalker(talk);
  try {
    await test(talker, { allowPrivate: false, trustedOrigins: [talker.origin] });
  } finally {
    await talker.close();
  }
}

function isNotFetched(kind: FileNotFetched["kind"]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof FileNotFetched, String(error));
    assert.equal(error.kind, kind, error.message);
    return true;
  };
}

test("a body is the same in whatever pieces and framing it comes", () => {
  const framings = [
    "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\nB\r\nhello world\r\n0\r\n\r\n",
  ];
  for (const text of framings) {
    const head = readHead(text);
    assert.ok(head);
    const body = Buffer.from(text.slice(head.bytes));
    for (let size = 1; size <= body.length; size++) {
      const reader = new BodyReader(head, 11);
      let isComplete = false;
      for (let at = 0; at < body.length; at += size) {
        assert.equal(isComplete, false);
        isComplete = reader.read(body.subarray(at, at + size));
      }
      assert.equal(isComplete, true, `${size}: ${text}`);
      assert.equal(Buffer.from(reader.bytes()).toString(), "hello world");
    }
    assert.throws(() => new BodyReader(head, 10).read(body), BodyTooLarge);
  }
});

test("a file is fetched over redirects within one origin; its length need not be known", () =>
  withTalker(
    (socket, path) => {
      if (path === "/a") socket.end("HTTP/1.1 302 Found\r\nlocation: b\r\n\r\n");
      else if (path === "/b") socket.end("HTTP/1.1 308 Moved\r\nlocation: /c?d=e\r\n\r\n");
      else socket.end("HTTP/1.1 200 OK\r\n\r\nfile");
    },
    async ({ origin, asked }, policy) => {
      const { bytes } = await fetchFile(`${origin}/a`, policy, limits);
      assert.equal(Buffer.from(bytes).toString(), "file");
      assert.deepEqual(asked, ["GET /a HTTP/1.1", "GET /b HTTP/1.1", "GET /c?d=e HTTP/1.1"]);
    },
  ));

test("what is too large, too slow, cut short, endless or no HTTP is given up, in time and without memory", () =>
  withTalker(
    (socket, path) => {
      const says: Record<string, () => void> = {
        "/announced": () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n"),
        "/endless": () => pour(socket, "HTTP/1.1 200 OK\r\n\r\n", "z".repeat(65_536)),
        "/chunks": () =>
          pour(
            socket,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            `400\r\n${"z".repeat(1024)}\r\n`,
          ),
        "/silent": () => undefined,
        "/stalls": () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        "/trickles": () => {
          socket.write("HTTP/1.1 200 OK\r\n\r\n");
          const drip = setInterval(() => socket.write("z"), 20);
          socket.once("close", () => clearInterval(drip));
        },
        "/half": () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        "/half-chunk": () => socket.end("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nA\r\nhalf"),
        "/lies": () =>
          socket.end("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nhalf\r\n0\r\n\r\n"),
        "/gzip": () => socket.end("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nx"),
        "/negative": () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
        "/smtp": () => socket.end("220 smtp.example.com ESMTP\r\n"),
        "/gone": () => socket.end("HTTP/1.1 404 Not Found\r\n\r\nsecret page"),
        "/busy": () => socket.end("HTTP/1.1 503 Busy\r\nretry-after: 7\r\n\r\n"),
        "/circle": () => socket.end("HTTP/1.1 302 Found\r\nlocation: /circle\r\n\r\n"),
        "/nowhere": () => socket.end("HTTP/1.1 302 Found\r\nlocation: http://[\r\n\r\n"),
      };
      says[path]?.();
    },
    async ({ origin }, policy) => {
      const expected: [string, FileNotFetched["kind"]][] = [
        ["/announced", "too_large"],
        ["/endless", "too_large"],
        ["/chunks", "too_large"],
        ["/silent", "too_slow"],
        ["/stalls", "too_slow"],
        ["/trickles", "too_slow"],
        ["/half", "unavailable"],
        ["/half-chunk", "unavailable"],
        ["/lies", "unavailable"],
        ["/gzip", "unavailable"],
        ["/negative", "unavailable"],
        ["/smtp", "unavailable"],
        ["/gone", "missing"],
        ["/busy", "unavailable"],
        ["/circle", "refused"],
        ["/nowhere", "refused"],
      ];
      const short = { bytes: 1000, totalMilliseconds: 4_000, silenceMilliseconds: 2_000 };
      await Promise.all(
        expected.map(([path, kind]) =>
          assert.rejects(fetchFile(`${origin}${path}`, policy, short), isNotFetched(kind), path),
        ),
      );
      const busy = await fetchFile(`${origin}/busy`, policy, short).catch((error: unknown) => error);
      assert.ok(busy instanceof FileNotFetched && busy.retryAfterSeconds === 7 && busy.isPassing);
    },
  ));

test("no URL and no redirect leads to where nobody was told to go", () =>
  withTalker(
    (socket) => socket.end("HTTP/1.1 200 OK\r\n\r\ncanary"),
    async (canary) => {
      const port = new URL(canary.origin).port;
      const inside = [
        `${canary.origin}/x`,
        `https://127.0.0.1:${port}/x`,
        `http://0x7f000001:${port}/`,
        `http://2130706433:${port}/`,
        `http://[::ffff:127.0.0.1]:${port}/`,
        `http://localhost:${port}/`,
        `https://rebinds.example:${port}/`,
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        `//127.0.0.1:${port}/x`,
      ];
      const policy: TargetPolicy = {
        allowPrivate: false,
        // One public address beside the private one does not help.
        resolve: (name) => Promise.resolve(name === "127.0.0.1" ? [name] : ["93.184.215.14", "127.0.0.1"]),
      };
      for (const url of inside)
        await assert.rejects(fetchFile(url, policy, limits), isNotFetched("refused"), url);
      await withTalker(
        (socket, path) => {
          const location = inside[Number(path.slice(1))] ?? "";
          socket.end(`HTTP/1.1 302 Found\r\nlocation: ${location}\r\n\r\n`);
        },
        async ({ origin }) => {
          for (const [index, url] of inside.entries()) {
            const trusting = { ...policy, trustedOrigins: [origin] };
            await assert.rejects(
              fetchFile(`${origin}/${index}`, trusting, limits),
              isNotFetched("refused"),
              url,
            );
          }
        },
      );
      assert.deepEqual(canary.asked, []);
    },
  ));

test("whoever asks can stop, and is told by their own reason", () =>
  withTalker(
    () => undefined,
    async ({ origin }, policy) => {
      const stopping = new AbortController();
      const fetching = fetchFile(`${origin}/silent`, policy, limits, stopping.signal);
      stopping.abort(new Error("cancelled"));
      await assert.rejects(fetching, /cancelled/);
    },
  ));

/** As long as somebody listens. */
function pour(socket: Socket, first: string, again: string): void {
  socket.write(first);
  const more = () => {
    while (!socket.destroyed && socket.write(again));
    if (!socket.destroyed) socket.once("drain", more);
  };
  more();
}
