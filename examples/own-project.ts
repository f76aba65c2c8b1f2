/** What the travels share: a new person's project on the running host, its live events, and the outputs of its tasks. */
import { randomUUID } from "node:crypto";
import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import WebSocket from "ws";
import { fail, runningHost } from "./running-host.ts";

export interface OwnProject {
  supabase: SupabaseClient;
  projectId: string;
  /** Calls an endpoint. Ends the example when it is refused. */
  invoke<Answer>(name: string, body: object): Promise<Answer>;
  /** The address of a task's output, as soon as the task is complete. */
  outputOf(taskId: string): Promise<string>;
}

interface TaskUpdate {
  task_id: string;
  task_type: string;
  status: string;
  progress_message: string | null;
  error_message: string | null;
}

/** Signs up a person with a project, and prints the events of its tasks. */
export async function openProject(name: string, timeoutSeconds: number): Promise<OwnProject> {
  const { url, anonKey } = await runningHost();
  const supabase = createClient(url, anonKey, {
    auth: { persistSession: false },
    // Node 20 has no WebSocket of its own.
    realtime: { transport: WebSocket as unknown as typeof globalThis.WebSocket },
  });
  const email = `${name.toLowerCase().replaceAll(" ", "-")}-${randomUUID().slice(0, 8)}@${randomUUID().slice(0, 8)}.example`;
  const { data: signedUp, error } = await supabase.auth.signUp({ email, password: randomUUID() });
  if (error || !signedUp.user) fail(`Sign-up failed: ${error?.message}`);
  const { data: project } = await supabase
    .from("projects")
    .insert({ name, user_id: signedUp.user.id })
    .select("id")
    .single()
    .throwOnError();
  const projectId = project.id as string;
  const started = Date.now();

  function show({ task_id, task_type, status, progress_message, error_message }: TaskUpdate): void {
    const seconds = ((Date.now() - started) / 1000).toFixed(1).padStart(5);
    const note = error_message ?? progress_message ?? "";
    console.log(
      `${seconds} s  ${task_id.slice(0, 8)}  ${task_type.padEnd(20)} ${status.padEnd(12)} ${note}`.trimEnd(),
    );
  }

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

  async function invoke<Answer>(endpoint: string, body: object): Promise<Answer> {
    const { data, error: failure } = await supabase.functions.invoke<Answer>(endpoint, { body });
    if (failure || data === null) {
      fail(`${endpoint}: ${failure?.context instanceof Response ? await failure.context.text() : failure}`);
    }
    return data;
  }

  async function outputOf(taskId: string): Promise<string> {
    const question = { task_id: taskId, while_status: ["Queued", "In Progress"], wait_seconds: 20 };
    for (;;) {
      if (Date.now() - started > timeoutSeconds * 1000) fail("It takes too long. Does a worker run?");
      const task = await invoke<{ status: string; failed_part: { error_message: string } | null }>(
        "get-task-status",
        question,
      );
      if (task.status === "Queued" || task.status === "In Progress") continue;
      const { output_location: output } = await invoke<{ output_location: string | null }>(
        "get-task-output",
        {
          task_id: taskId,
        },
      );
      if (task.status === "Complete" && output) return output;
      fail(`Task ${taskId} ended ${task.status}. ${task.failed_part?.error_message ?? ""}`.trimEnd());
    }
  }

  return { supabase, projectId, invoke, outputOf };
}
