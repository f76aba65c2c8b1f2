// A thread does not inherit the loader that runs TypeScript in older Node versions; this brings it along.
import { register } from "tsx/esm/api";

register();
await import("./render.ts");
