/**
 * What to make, by family: a batch of images, and a travel through them, without knowing what workers read:
 *
 *   npm start                               in one terminal
 *   node --import tsx examples/generators.ts    in another
 */
import { randomUUID } from "node:crypto";
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";
import { fail, runningHost } from "./running-host.ts";

interface Quote {
  quote_id: string;
  cost: number;
  upper_bound: number;
  task_count: number;
}

interface Created {
  task_id: string;
  task_ids: string[];
  held_microusd: number;
  upper_bound: number;
  meta: { resolution: string; seeds: number[]; parent_generation_id?: string };
}

const { url, anonKey } = await runningHost();
const supabase = createClient(url, anonKey, {
  auth: { persistSession: false },
  // Node 20 has no WebSocket of its own.
  realtime: { transport: WebSocket as unknown as typeof globalThis.WebSocket },
});

const email = `generators-${randomUUID().slice(0, 8)}@${randomUUID().slice(0, 8)}.example`;
const { data: signedUp, error } = await supabase.auth.signUp({ email, password: randomUUID() });
if (error || !signedUp.user) fail(`Sign-up failed: ${error?.message}`);
const { data: project } = await supabase
  .from("projects")
  .insert({ name: "Generators", user_id: signedUp.user.id, aspect_ratio: "16:9" })
  .select("id")
  .single()
  .throwOnError();
const project_id = project.id as string;
const { data: shot } = await supabase
  .from("shots")
  .insert({ project_id, name: "Dawn" })
  .select("id")
  .single()
  .throwOnError();
const shot_id = shot.id as string;

// Images: two prompts, one image each. The quote is of the same request.
const order = {
  family: "image_generation",
  project_id,
  input: {
    prompts: ["A fox in the snow at dawn", "The fox on a hill, at noon"],
    model_name: "z-image",
    shot_id,
  },
};
const quote = await invoke<Quote>("calculate-task-cost", order);
console.log(`quoted     ${quote.task_count} images for ${quote.cost} credits`);
const batch = await invoke<Created>("create-task", {
  ...order,
  quote_id: quote.quote_id,
  idempotency_key: randomUUID(),
});
console.log(`created    ${batch.task_ids.length} images of ${batch.meta.resolution}`);
for (const task_id of batch.task_ids) await finished(task_id);
const { data: images } = await supabase
  .from("generations")
  .select("id, location")
  .eq("project_id", project_id)
  .order("created_at")
  .throwOnError();
for (const { location } of images) console.log(`drawn      ${location}`);

// A travel through them. Its segments take a while, so this one is taken back: nothing is held, or charged, any more.
const travel = await invoke<Created>("create-task", {
  family: "travel_between_images",
  project_id,
  input: {
    image_urls: images.map(({ location }) => location as string),
    image_generation_ids: images.map(({ id }) => id as string),
    base_prompts: ["The sun rises, the fox runs"],
    segment_frames: [61],
    shot_id,
    generation_name: "Dawn to noon",
  },
});
const { data: placeholder } = await supabase
  .from("generations")
  .select("name, location")
  .eq("id", travel.meta.parent_generation_id ?? "")
  .single()
  .throwOnError();
console.log(`created    a travel; "${placeholder.name}" waits in its shot for a file`);
console.log(`held       ${travel.held_microusd / 10_000} credits; it costs ${travel.upper_bound} at most`);
await invoke("update-task-status", { task_id: travel.task_id, status: "Cancelled" });
const balance = await invoke<{ held: number }>("credit-balance", {});
console.log(`cancelled  ${balance.held} credits held`);
process.exit(0);

async function finished(task_id: string): Promise<void> {
  for (const deadline = Date.now() + 60_000; ;) {
    const { status } = await invoke<{ status: string }>("get-task-status", { task_id, wait_seconds: 20 });
    if (status === "Complete") return;
    if (status !== "Queued" && status !== "In Progress") fail(`The task ended ${status}.`);
    if (Date.now() > deadline) fail("The task was not finished within a minute. Does a worker run?");
  }
}

async function invoke<Answer>(name: string, body: object): Promise<Answer> {
  const { data, error } = await supabase.functions.invoke<Answer>(name, { body });
  if (error || data === null)
    fail(`${name}: ${error?.context instanceof Response ? await error.context.text() : error}`);
  return data;
}
