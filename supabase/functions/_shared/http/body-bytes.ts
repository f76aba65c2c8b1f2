import { AppError } from "../errors/app-error.ts";

/**
 * The body of a request, chunk by chunk.
 * @throws AppError `client_closed_request` when the client goes away before its end
 */
export async function* bodyChunks(request: Request): AsyncGenerator<Uint8Array, void> {
  const reader = request.body?.getReader();
  if (!reader) return;
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        ended = true;
        // Nothing but the client's connection can fail here.
        throw new AppError("client_closed_request", {}, { cause: error });
      });
      ended = done;
      if (done) return;
      yield value;
    }
  } finally {
    if (!ended) await reader.cancel();
  }
}

/** The whole body. Throws `tooLarge()` as soon as it is longer than the limit, whatever `Content-Length` says. */
export async function readBytes(
  request: Request,
  limitBytes: number,
  tooLarge: () => Error,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyChunks(request)) {
    size += chunk.byteLength;
    if (size > limitBytes) throw tooLarge();
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}
