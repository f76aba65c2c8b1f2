/**
 * From prompts to a film, as an app would do it: pictures, a travel through them, its segments and their stitch, live:
 *
 *   npm start                               in one terminal
 *   node --import tsx examples/travel.ts    in another
 */
import { randomUUID } from "node:crypto";
import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";
import { fail, runningHost } from "./running-host.ts";

const timeoutSeconds = 300;
const prompts = ["A fox in the snow at dusk", "The fox leaps over a stream", "The fox asleep in its den"];

const { url, anonKey } = await runningHost();
const supabase = createClient(url, anonKey, {
  auth: { persistSession: false },
  // Node 20 has no WebSocket of its own.
  realtime: { transport: WebSocket as unknown as typeof globalThis.WebSocket },
});

const email = `travel-${randomUUID().slice(0, 8)}@${randomUUID().slice(0, 8)}.example`;
const { data: signedUp, error } = await supabase.auth.signUp({ email, password: randomUUID() });
if (error || !signedUp.user) fail(`Sign-up failed: ${error?.message}`);
const { data: project } = await supabase
  .from("projects")
  .insert({ name: "Travel", user_id: signedUp.user.id })
  .select("id")
  .single()
  .throwOnError();
const projectId = project.id as string;

const started = Date.now();
await supabase.realtime.setAuth();
await new Promise<void>((resolve) => {
  supabase
    .channel(`task-updates:${projectId}`, { config: { private: true } })
    .on("broadcast", { event: "task-update" }, ({ payload }) => show(payload as TaskUpdate))
    .subscribe((status) => {
      if (status === "SUBSCRIBED") resolve();
      if (status === "CHANNEL_ERROR") fail("The realtime channel was refused.");
    });
});

const pictures = [];
for (const [index, prompt] of prompts.entries()) {
  const { task_id } = await invoke<{ task_id: string }>("create-task", {
    project_id: projectId,
    task_type: "z_image_turbo",
    params: { prompt, seed: index + 1, resolution: "902x508" },
  });
  pictures.push(task_id);
}
const imageUrls = [];
for (const taskId of pictures) imageUrls.push(await outputOf(taskId));

const travel = await invoke<{ task_id: string }>("steerable-motion", {
  project_id: projectId,
  image_urls: imageUrls,
  base_prompts: prompts.slice(1),
  segment_frames: [33],
  frame_overlap: [6],
  resolution: "902x508",
});
const film = await outputOf(travel.task_id);

const { data: parent } = await supabase
  .from("generations")
  .select("location,thumbnail_url,children:generations!parent_generation_id(child_order,location)")
  .eq("source_task_id", travel.task_id)
  .single()
  .throwOnError();
if (parent.location !== film) fail("The parent generation does not show the film.");
const { data: spends } = await supabase
  .from("credits_ledger")
  .select("amount")
  .eq("task_id", travel.task_id)
  .throwOnError();
console.log(`\npaid       ${-Number(spends[0]?.amount)} credits for the travel`);
for (const { child_order, location } of parent.children) console.log(`segment ${child_order}  ${location}`);
console.log(`\nSee the film:  ${film}`);
await supabase.removeAllChannels();
process.exit(0);

interface TaskUpdate {
  task_id: string;
  task_type: string;
  status: string;
  progress_message: string | null;
  error_message: string | null;
}

function show({ task_id, task_type, status, progress_message, error_message }: TaskUpdate): void {
  const seconds = ((Date.now() - started) / 1000).toFixed(1).padStart(5);
  const note = error_message ?? progress_message ?? "";
  console.log(
    `${seconds} s  ${task_id.slice(0, 8)}  ${task_type.padEnd(20)} ${status.padEnd(12)} ${note}`.trimEnd(),
  );
}

/** Where a task's output is, once it is complete. */
async function outputOf(taskId: string): Promise<string> {
  const question = { task_id: taskId, while_status: ["Queued", "In Progress"], wait_seconds: 20 };
  for (;;) {
    if (Date.now() - started > timeoutSeconds * 1000) fail("It takes too long. Does a worker run?");
    const { status } = await invoke<{ status: string }>("get-task-status", question);
    if (status === "Queued" || status === "In Progress") continue;
    const task = await invoke<{ output_location: string | null }>("get-task-output", { task_id: taskId });
    if (status !== "Complete" || !task.output_location) fail(`Task ${taskId} ended ${status}.`);
    return task.output_location;
  }
}

async function invoke<Answer>(name: string, body: object): Promise<Answer> {
  const { data, error: failure } = await supabase.functions.invoke<Answer>(name, { body });
  if (failure || data === null) {
    fail(`${name}: ${failure?.context instanceof Response ? await failure.context.text() : failure}`);
  }
  return data;
}
