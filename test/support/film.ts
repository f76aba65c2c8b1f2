import { readFileSync } from "node:fs";
import { projectPath } from "../../server/migrate.ts";

const smallest = readFileSync(projectPath("test/fixtures/film.mp4"));

/** A real film of two frames of 16 × 16 pixels, as long as a test needs: a box that players skip fills it. */
export function film({ bytes = 0 } = {}): Uint8Array {
  const filling = bytes - smallest.length;
  if (filling <= 0) return new Uint8Array(smallest);
  const box = Buffer.alloc(Math.max(8, filling), 0x2a);
  box.writeUInt32BE(box.length, 0);
  box.write("free", 4, "latin1");
  return new Uint8Array(Buffer.concat([smallest, box]));
}
