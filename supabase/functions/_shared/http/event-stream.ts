import { AppError } from "../errors/app-error.ts";
import type { Log } from "../observability/log.ts";

/**
 * Server-sent events: `piece` for each piece, then `done` with the whole, or `error` in the one format of errors. The
 * first piece is awaited, so that what fails at once fails with its status. Whoever hangs up is written for no further:
 * `leaving` aborts, and the pieces end; without it they are written to the end, for whoever comes again.
 */
export async function eventStream<Piece, Whole>(
  pieces: AsyncGenerator<Piece, Whole>,
  log: Log,
  leaving: AbortController | undefined,
): Promise<Response> {
  const first = await pieces.next();
  const encoder = new TextEncoder();
  const event = (name: string, data: unknown) =>
    encoder.encode(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  let next: Promise<IteratorResult<Piece, Whole>> | undefined = Promise.resolve(first);
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (!next) return;
      try {
        const { done, value } = await next;
        controller.enqueue(event(done ? "done" : "piece", value));
        next = done ? undefined : pieces.next();
        // Read on at once; what fails is seen when it is pulled.
        next?.catch(() => undefined);
        if (done) controller.close();
      } catch (error) {
        next = undefined;
        const failure = failureOf(error, log);
        controller.enqueue(
          event("error", { error: failure.code, message: failure.message, ...failure.details }),
        );
        controller.close();
      }
    },
    async cancel() {
      const pending = next;
      next = undefined;
      try {
        if (leaving) {
          // Before the return, which waits for the piece that is being written.
          leaving.abort();
          await pieces.return(undefined as never);
        } else {
          for (let last = await pending; last && !last.done; last = await pieces.next());
        }
      } catch (error) {
        failureOf(error, log);
      }
    },
  });
  return new Response(body, {
    headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" },
  });
}

/** The failure as it is told; what is not the caller's is logged. */
function failureOf(error: unknown, log: Log): AppError {
  const failure = error instanceof AppError ? error : new AppError("internal_error", {}, { cause: error });
  if (failure.status >= 500) log.error({ err: failure.cause ?? failure }, failure.code);
  return failure;
}
