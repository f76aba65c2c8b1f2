import { type DestinationStream, pino } from "pino";
import { codeOf } from "./postgres/error-code.ts";

/** What a write says when the reader is gone: of a pipe, of a terminal that was closed. */
const goneReader = new Set(["EPIPE", "EIO", "ENXIO"]);

/**
 * Where the host logs: standard output, for as long as somebody is there. A closed terminal must not turn the stop
 * that it asks for into a failure.
 */
export function standardOutput(): DestinationStream {
  const destination = pino.destination({ fd: 1, sync: true });
  destination.on("error", (error: unknown) => {
    if (!goneReader.has(codeOf(error) ?? "")) throw error;
    destination.write = () => true;
    destination.flushSync = () => undefined;
    destination.end = () => undefined;
    destination.destroy = () => undefined;
  });
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error) => {
      if (!goneReader.has(codeOf(error) ?? "")) throw error;
    });
  }
  return destination;
}
