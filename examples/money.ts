/**
 * What a task costs, from the quote to the receipt and the statement, as an app would ask for it:
 *
 *   npm start                          in one terminal
 *   node --import tsx examples/money.ts    in another
 */
import { randomUUID } from "node:crypto";
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";
import { fail, runningHost } from "./running-host.ts";

interface Quote {
  quote_id: string;
  quote_expires_at: string;
  cost: number;
  cost_microusd: number;
}

interface Receipt {
  receipt_number: string;
  total: number;
  lines: { item: string; quantity: number; unit: string; total_microusd: number }[];
  grants_drawn: { category: string; amount_microusd: number }[];
}

const { url, anonKey } = await runningHost();
const supabase = createClient(url, anonKey, {
  auth: { persistSession: false },
  // Node 20 has no WebSocket of its own.
  realtime: { transport: WebSocket as unknown as typeof globalThis.WebSocket },
});

const email = `money-${randomUUID().slice(0, 8)}@${randomUUID().slice(0, 8)}.example`;
const { data: signedUp, error } = await supabase.auth.signUp({ email, password: randomUUID() });
if (error || !signedUp.user) fail(`Sign-up failed: ${error?.message}`);
const { data: project } = await supabase
  .from("projects")
  .insert({ name: "Money", user_id: signedUp.user.id })
  .select("id")
  .single()
  .throwOnError();
await showBalance();

const order = {
  task_type: "z_image_turbo",
  params: { prompt: "A fox in the snow at dusk", resolution: "902x508" },
};
const quote = await invoke<Quote>("calculate-task-cost", order);
console.log(`quoted     ${quote.cost} credits, until ${quote.quote_expires_at.slice(11, 16)}`);

// With the quote's id the task costs this, even if the price changes meanwhile.
const { task_id } = await invoke<{ task_id: string }>("create-task", {
  ...order,
  project_id: project.id as string,
  quote_id: quote.quote_id,
});
await showBalance();

let status = "Queued";
for (const deadline = Date.now() + 60_000; status === "Queued" || status === "In Progress";) {
  if (Date.now() > deadline) fail("The task was not finished within a minute. Does a worker run?");
  ({ status } = await invoke<{ status: string }>("get-task-status", { task_id, wait_seconds: 20 }));
}
if (status !== "Complete") fail(`The task ended ${status}.`);

const receipt = await invoke<Receipt>("get-receipt", { task_id });
console.log(`receipt    ${receipt.receipt_number}: ${receipt.total} credits`);
for (const { item, quantity, unit, total_microusd } of receipt.lines) {
  console.log(`           ${item}: ${quantity} ${unit}, ${total_microusd / 10_000} credits`);
}
await showBalance();

console.log("\nThe statement as CSV:\n");
console.log(await invoke<string>("credit-statement", { format: "csv" }));
process.exit(0);

async function showBalance(): Promise<void> {
  const { credits, held, available } = await invoke<Record<string, number>>("credit-balance", {});
  console.log(`balance    ${credits} credits, ${held} held, ${available} available`);
}

async function invoke<Answer>(name: string, body: object): Promise<Answer> {
  const { data, error: failure } = await supabase.functions.invoke<Answer>(name, { body });
  if (failure || data === null) {
    fail(`${name}: ${failure?.context instanceof Response ? await failure.context.text() : failure}`);
  }
  return data;
}
