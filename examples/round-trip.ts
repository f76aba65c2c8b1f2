/**
 * One task from sign-up to picture and receipt, as an app would do it, against the running host:
 *
 *   npm start        in one terminal
 *   npm run demo     in another
 */
import { randomUUID } from "node:crypto";
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";
import { fail, runningHost } from "./running-host.ts";

const timeoutMilliseconds = 60_000;

interface TaskUpdate {
  task_id: string;
  status: string;
  progress: number | null;
  progress_message: string | null;
  error_message: string | null;
}

const { url, anonKey } = await runningHost();
const supabase = createClient(url, anonKey, {
  auth: { persistSession: false },
  // Node 20 has no WebSocket of its own.
  realtime: { transport: WebSocket as unknown as typeof globalThis.WebSocket },
});

const email = `demo-${randomUUID().slice(0, 8)}@example.com`;
const { data: signedUp, error: signUpError } = await supabase.auth.signUp({ email, password: randomUUID() });
if (signUpError || !signedUp.user) fail(`Sign-up failed: ${signUpError?.message}`);
const { data: user } = await supabase.from("users").select("credits").single().throwOnError();
console.log(`signed up     ${email}, with ${user.credits} credits`);

const { data: project } = await supabase
  .from("projects")
  .insert({ name: "Demo", user_id: signedUp.user.id })
  .select()
  .single()
  .throwOnError();

const task = {
  task_type: "z_image_turbo",
  project_id: project.id as string,
  params: {
    model: "z_image",
    prompt: "A fox in the snow at dusk, soft light, film grain",
    resolution: "902x508",
    seed: Math.floor(Math.random() * 2 ** 31),
    steps: 8,
  },
};
const quote = await invoke<{ cost: number; exact: boolean }>("calculate-task-cost", {
  task_type: task.task_type,
  params: task.params,
});
console.log(`quoted        ${quote.cost} credits${quote.exact ? "" : " expected"}`);

const updates: TaskUpdate[] = [];
const ended = new Promise<TaskUpdate>((resolve) => {
  supabase
    .channel(`task-updates:${task.project_id}`, { config: { private: true } })
    .on("broadcast", { event: "task-update" }, ({ payload }) => {
      const update = payload as TaskUpdate;
      updates.push(update);
      show(update);
      if (["Complete", "Failed", "Cancelled"].includes(update.status)) resolve(update);
    })
    .subscribe((status) => {
      if (status === "SUBSCRIBED") void create();
      if (status === "CHANNEL_ERROR") fail("The realtime channel was refused.");
    });
});

async function create(): Promise<void> {
  const created = await invoke<{ task_id: string }>("create-task", task);
  console.log(`created       task ${created.task_id}`);
}

const deadline = setTimeout(
  () => fail("The task was not finished within a minute. Does a worker run? (DARKROOM_WORKER=off?)"),
  timeoutMilliseconds,
);
const last = await ended;
clearTimeout(deadline);
if (last.status !== "Complete") fail(`The task ended ${last.status}: ${last.error_message}`);

const { data: generation } = await supabase
  .from("generations")
  .select("id,location,thumbnail_url")
  .eq("project_id", task.project_id)
  .single()
  .throwOnError();
const { data: spend } = await supabase
  .from("credits_ledger")
  .select("amount")
  .eq("type", "spend")
  .single()
  .throwOnError();
const { data: after } = await supabase.from("users").select("credits").single().throwOnError();
console.log(`paid          ${-spend.amount} credits, ${after.credits} left`);
console.log(`\nSee the picture:  ${generation.location}`);
await supabase.removeAllChannels();
process.exit(0);

async function invoke<Answer>(name: string, body: object): Promise<Answer> {
  const { data, error } = await supabase.functions.invoke<Answer>(name, { body });
  if (error || data === null)
    fail(`${name}: ${error?.context instanceof Response ? await error.context.text() : error}`);
  return data;
}

function show({ status, progress, progress_message: message }: TaskUpdate): void {
  const done = Math.round((progress ?? 0) * 20);
  const bar = status === "Queued" ? "" : `[${"█".repeat(done)}${"·".repeat(20 - done)}] `;
  console.log(`${status.toLowerCase().padEnd(13)} ${bar}${message ?? ""}`.trimEnd());
}
