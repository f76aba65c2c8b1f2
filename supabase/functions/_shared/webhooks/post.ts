import { Buffer } from "node:buffer";
import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectEncrypted } from "node:tls";
import type { Target } from "./target.ts";

/** What a receiver answered: its status, and how long it asks us to wait. Its body is never read. */
export interface Answer {
  statusCode: number;
  retryAfterSeconds: number | undefined;
}

/** The receiver said what is no HTTP, or nothing. */
export class InvalidAnswer extends Error {}

const headBytes = 16 * 1024;

/**
 * Posts a body to exactly the address that was checked, and reads the head of the answer.
 *
 * HTTP/1.1 over a socket of its own, for neither `fetch` nor, on Deno 2.1, `node:https` can be told which address
 * to connect to; whoever looks the name up again may get another. TLS is checked against the URL's name. No redirect
 * is followed, no proxy asked, no connection used twice.
 */
export function post(
  { url, address }: Target,
  headers: Record<string, string>,
  body: string,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = open(url, address);
    const onAbort = () => settle(() => reject(signal.reason as Error));
    let received = Buffer.alloc(0);

    function settle(act: () => void): void {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      act();
    }

    socket.on("error", (error: Error) => settle(() => reject(error)));
    socket.on("close", () => settle(() => reject(new InvalidAnswer("closed without an answer"))));
    socket.on("data", (chunk: Uint8Array) => {
      received = Buffer.concat([received, chunk]);
      try {
        const answer = readHead(received.toString("latin1"));
        if (answer) settle(() => resolve(answer));
        else if (received.length > headBytes) throw new InvalidAnswer("the head of the answer is too long");
      } catch (error) {
        settle(() => reject(error as Error));
      }
    });
    socket.once(url.protocol === "https:" ? "secureConnect" : "connect", () => {
      socket.write(requestText(url, headers, body));
    });
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

function open(url: URL, address: string): Socket {
  const isEncrypted = url.protocol === "https:";
  const port = url.port === "" ? (isEncrypted ? 443 : 80) : Number(url.port);
  if (!isEncrypted) return connectPlain({ host: address, port });
  return connectEncrypted({
    host: address,
    port,
    servername: url.hostname,
    ALPNProtocols: ["http/1.1"],
    minVersion: "TLSv1.2",
  });
}

/** Host and path come from a parsed URL, which has no control characters; header values are ours. */
function requestText(url: URL, headers: Record<string, string>, body: string): Uint8Array {
  const content = Buffer.from(body, "utf8");
  const lines = Object.entries({
    host: url.host,
    ...headers,
    "content-length": String(content.length),
    connection: "close",
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `POST ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), content]);
}

/** Status and `retry-after` of a final answer, once its head is complete; interim answers are passed over. */
export function readHead(text: string): Answer | undefined {
  for (let rest = text; ;) {
    const end = rest.indexOf("\r\n\r\n");
    if (end === -1) {
      if (rest.length >= 5 && !rest.startsWith("HTTP/")) throw new InvalidAnswer("the answer is not HTTP");
      return undefined;
    }
    const [statusLine = "", ...fields] = rest.slice(0, end).split("\r\n");
    const status = /^HTTP\/1\.[01] ([1-9]\d\d)(?: |$)/.exec(statusLine)?.[1];
    if (status === undefined) throw new InvalidAnswer("the answer is not HTTP/1.1");
    if (status.startsWith("1")) {
      rest = rest.slice(end + 4);
      continue;
    }
    const retryAfter = fields.map((field) => /^retry-after:\s*(\d{1,9})\s*$/i.exec(field)?.[1]).find(Boolean);
    return { statusCode: Number(status), retryAfterSeconds: retryAfter ? Number(retryAfter) : undefined };
  }
}
