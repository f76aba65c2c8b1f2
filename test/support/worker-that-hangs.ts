/** A worker of ours in a process of its own, which claims one task and never gets done with it. */
import { DarkroomClient } from "../../supabase/functions/_shared/worker/client.ts";
import { createWorker } from "../../supabase/functions/_shared/worker/worker.ts";

const [url = "", workerId = ""] = process.argv.slice(2);
const worker = createWorker({
  client: new DarkroomClient({ url, token: process.env["DARKROOM_TOKEN"] ?? "", workerId }),
  providers: [
    {
      name: "hangs",
      taskTypes: ["z_image_turbo"],
      run: ({ task_id, attempt }, { signal }) => {
        console.log(`running ${task_id} ${attempt}`);
        return new Promise((_resolve, reject) =>
          signal.addEventListener("abort", () => {
            console.log(`dropped ${task_id} ${attempt}`);
            reject(new Error("aborted"));
          }),
        );
      },
    },
  ],
  log: { info: () => undefined, warn: () => undefined },
  pollSeconds: 0.05,
  stopGraceSeconds: 0.2,
});
process.on("SIGTERM", () => void worker.stop());
await worker.run();
