import { once } from "node:events";
import { createServer, type IncomingMessage, request as forward, type Server } from "node:http";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";

/** One address before several servers, as Supabase's gateway is. */
export interface Gateway {
  url: string;
  stop(): Promise<void>;
}

/** `portOf` names the server behind a path; it is asked at each request, for servers may start later. */
export async function startGateway(portOf: (path: string) => number | undefined): Promise<Gateway> {
  const server = createServer();
  const sockets = new Set<Duplex>();

  server.on("request", (incoming, outgoing) => {
    const port = portOf(incoming.url ?? "/");
    if (port === undefined) {
      outgoing.writeHead(503).end();
      return;
    }
    const { method, url, rawHeaders: headers } = incoming;
    // A connection for each request: reused ones may be closed by the other side at that moment.
    const onward = forward({ host: "127.0.0.1", port, method, path: url, headers, agent: false });
    onward.once("response", (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(outgoing);
    });
    onward.once("error", (error) => {
      // An upstream that refuses a long body answers before it has read it, and then hangs up.
      if (outgoing.headersSent) outgoing.destroy();
      else outgoing.writeHead(502).end(error.message);
    });
    outgoing.once("close", () => onward.destroy());
    // Now, and not with the first bytes of the body: some answers need none of it.
    onward.flushHeaders();
    incoming.pipe(onward);
  });

  server.on("upgrade", (incoming: IncomingMessage, client: Duplex, head: Buffer) => {
    const upstream = connect(portOf(incoming.url ?? "/") ?? 0, "127.0.0.1");
    tie(client, upstream, sockets);
    upstream.once("connect", () => {
      upstream.write(requestHead(incoming));
      upstream.write(head);
      upstream.pipe(client);
      client.pipe(upstream);
    });
  });

  const port = await listen(server);
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** When one side of a tunnel ends, for whatever reason, so does the other. */
function tie(client: Duplex, upstream: Socket, sockets: Set<Duplex>): void {
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    sockets.add(one);
    one.once("error", () => other.destroy());
    one.once("close", () => {
      sockets.delete(one);
      other.destroy();
    });
  }
}

function requestHead({ method, url, rawHeaders }: IncomingMessage): string {
  let text = `${method} ${url} HTTP/1.1\r\n`;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    text += `${rawHeaders[index]}: ${rawHeaders[index + 1]}\r\n`;
  }
  return `${text}\r\n`;
}

async function listen(server: Server): Promise<number> {
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The gateway does not listen.");
  return address.port;
}
