import type { Logger } from "pino";
import { z } from "zod";
import { WaitingRoom } from "../../supabase/functions/_shared/waiting/waiting-room.ts";
import type { MessageStream } from "../realtime/message-stream.ts";

/** What `announce_lane()` writes, and `announce_task_types()` of no user or model. */
const laneNews = z.object({
  user_id: z.string().optional(),
  run_type: z.string(),
  task_types: z.array(z.string()),
  model: z.string().optional(),
  is_open: z.boolean(),
});

/** What `broadcast_task_update()` sends. */
const taskUpdate = z.object({ task_id: z.string(), status: z.string() });

/** A waiting room that hears of lanes and tasks from the one stream that this host follows. */
export function openWaitingRoom(
  stream: Pick<MessageStream, "on" | "onLogMessage" | "isLive">,
  log: Logger,
): WaitingRoom {
  const room = new WaitingRoom({
    hearsNews: () => stream.isLive,
    untold: { first: 250, factor: 2, longest: 500 },
  });
  stream.onLogMessage("darkroom.queue", (content) => {
    const lane = laneNews.parse(JSON.parse(content));
    room.tell({
      kind: "lane",
      userId: lane.user_id,
      runType: lane.run_type,
      taskTypes: lane.task_types,
      model: lane.model,
      isOpen: lane.is_open,
    });
  });
  stream.on("task-updates:", ({ payload }) => {
    // The table may hold what others sent to such a topic.
    const update = taskUpdate.safeParse(JSON.parse(payload));
    if (update.success) {
      room.tell({ kind: "task", taskId: update.data.task_id, status: update.data.status });
    } else log.debug({ payload }, "a task update of another form");
  });
  return room;
}
