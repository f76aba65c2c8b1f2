import { fileURLToPath } from "node:url";

/** Where things are in the project, whatever folder the process was started in. */
export function projectPath(relative: string): string {
  return fileURLToPath(new URL(`../${relative}`, import.meta.url));
}
