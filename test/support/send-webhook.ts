/**
 * Sends one webhook and prints what came of it; run by Node and by Deno, each told by its own variable whom to trust.
 * The names it is given resolve to loopback, whatever they are.
 */
import process from "node:process";
import { newSecret } from "../../supabase/functions/_shared/webhooks/signature.ts";
import { createWebhookSender } from "../../supabase/functions/_shared/webhooks/sender.ts";

const [url = ""] = process.argv.slice(2);
const sender = createWebhookSender({ allowPrivate: true, resolve: () => Promise.resolve(["127.0.0.1"]) });
const outcome = await sender.send({
  delivery_id: "msg_1",
  claim_id: "claim",
  endpoint_id: "endpoint",
  url,
  attempt: 1,
  payload: '{"type":"webhook.test"}',
  secrets: [newSecret()],
});
console.log(JSON.stringify({ statusCode: outcome.statusCode, error: outcome.error }));
