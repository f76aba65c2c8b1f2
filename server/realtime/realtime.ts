import type { Server } from "node:http";
import { Hono } from "hono";
import type { HostContext } from "../context.ts";

// Placeholder until this part is written.
export function createRealtime(_context: HostContext): {
  app: Hono;
  attach(server: Server): void;
  start(): Promise<void>;
  stop(): Promise<void>;
} {
  return {
    app: new Hono(),
    attach: () => undefined,
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(),
  };
}
