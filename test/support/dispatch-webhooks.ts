/** A dispatcher in a process of its own, to be killed: `DATABASE_URL=… node --import tsx dispatch-webhooks.ts`. */
import process from "node:process";
import { pino } from "pino";
import { startDispatcher } from "../../server/webhooks/dispatcher.ts";
import { createWebhookSender } from "../../supabase/functions/_shared/webhooks/sender.ts";

// The pipe from the test ends with it, however it ends.
process.stdin.resume().once("end", () => process.exit());

startDispatcher({
  databaseUrl: process.env["DATABASE_URL"] ?? "",
  sender: createWebhookSender({ allowPrivate: true, timeoutMilliseconds: 60_000 }),
  log: pino({ level: "silent" }),
});
