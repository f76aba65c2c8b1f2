import assert from "node:assert/strict";

/**
 * The queue as its promises say it is, without lanes, slots, locks or turn marks: what waits, what runs, who may
 * take what, and what it costs. The property test compares the database with it after every step.
 */

export type Status = "Queued" | "In Progress" | "Complete" | "Failed" | "Cancelled";

export interface ModelUser {
  id: string;
  allowsCloud: boolean;
  allowsLocal: boolean;
  balance: number;
  /** The turn at which the user was last served; 0 is never. */
  served: number;
}

export interface ModelProject {
  id: string;
  user: ModelUser;
  limit: number | null;
  reuses: boolean;
}

export interface ModelTaskType {
  name: string;
  runType: "api" | "gpu";
  isOrchestrator: boolean;
  /** Of one output, or of one second. */
  price: number;
  /** Null: priced by output. */
  heldSeconds: number | null;
  limit: number | null;
  /** Of an output that an earlier run made; null where outputs are not reused. */
  reusePrice: number | null;
}

export interface ModelTask {
  id: string;
  project: ModelProject;
  type: ModelTaskType;
  model: string;
  priority: number;
  /** By age, the oldest first. */
  age: number;
  inCloud: boolean;
  dependencies: ModelTask[];
  orchestrator: ModelTask | undefined;
  maxAttempts: number;
  /** Its `run_after` has not come. */
  isEarly: boolean;
  seed: number | null;
  status: Status;
  /** Waits for the queue to let it go, even when its time has come. */
  isScheduled: boolean;
  attempt: number;
  attempts: number;
  worker: string | null;
  byOwner: boolean | null;
  /** When its lease ended, if it is over: a number by which such tasks are rescued in order. */
  expired: number | null;
  bound: number;
  childrenHeld: number;
  hold: number | undefined;
  wasCharged: boolean;
  /** Equal tasks of a project have the same, where it reuses results; null in others, and in those that did not run. */
  key: string | null;
  /** Waits for the run of an equal task. */
  isFollowing: boolean;
  /** Whose run made the output, where it was another's. */
  reused: string | null;
  /** Its row names the file of its run, for others to be given. */
  namesFile: boolean;
  /** Its output can be given again: that file is there. */
  isResult: boolean;
  /** `"by time"` until the database has said what the seconds cost. */
  cost: number | null | "by time";
}

export interface ModelWorker {
  name: string;
  /** Undefined for the cloud's. */
  owner: ModelUser | undefined;
  model: string | null;
}

export interface ClaimOptions {
  worker: ModelWorker;
  runType: "api" | "gpu" | undefined;
  taskTypes: string[] | undefined;
  models: string[] | undefined;
  sameModelOnly: boolean;
  maxTasks: number;
}

export interface NewTask {
  project: ModelProject;
  type: ModelTaskType;
  model: string;
  priority: number;
  dependencies: ModelTask[];
  orchestrator: ModelTask | undefined;
  maxAttempts: number;
  isEarly: boolean;
  /** Of an orchestrator: how many children it says that it will have. */
  children: number;
  /** Without one, each run makes something new. */
  seed: number | null;
}

/** A row of `tasks`, as far as the model knows of it. */
export interface TaskRow {
  id: string;
  status: Status;
  attempt: number;
  attempts: number;
  worker: string | null;
  byOwner: boolean | null;
  isScheduled: boolean;
  unmet: number;
  cost: number | null;
  hold: number | null;
  wasCharged: boolean;
  childrenHeld: number;
  inCloud: boolean;
  isEarly: boolean;
  expired: number | null;
  hasKey: boolean;
  isFollowing: boolean;
  reused: string | null;
  namesFile: boolean;
  isResult: boolean;
  priority: number;
}

export interface QueueRows {
  /** The oldest first. */
  tasks: TaskRow[];
  users: {
    id: string;
    balance: number;
    allowsCloud: boolean;
    allowsLocal: boolean;
    /** The turn of their last service; null where claims at the same moment left it open. */
    turn: number | null;
  }[];
  projects: { id: string; limit: number | null; reuses: boolean }[];
  types: { name: string; limit: number | null }[];
  workers: { id: string; model: string | null }[];
  hasMarks: boolean;
  /** Or some that become it when the queue is tended. */
  hasOverdueLanes: boolean;
}

export type Transition = { status: Status; kind: "service" | "personal-access-token" | "user" };

export class QueueModel {
  readonly tasks = new Map<string, ModelTask>();
  /** Of one user: how many tasks may be open. */
  maxOpenTasks = Infinity;
  /** Whether turns say who is next: not where marks were made, or claims at the same moment left their order open. */
  #turnsAreKnown = true;
  #hasOverdueLanes = false;
  #turn = 0;

  constructor(
    readonly users: ModelUser[],
    readonly projects: ModelProject[],
    readonly types: ModelTaskType[],
    readonly workers: ModelWorker[],
  ) {}

  byStatus(...statuses: Status[]): ModelTask[] {
    return [...this.tasks.values()].filter(({ status }) => statuses.includes(status));
  }

  unmet(task: ModelTask): number {
    return task.dependencies.filter(({ status }) => status !== "Complete").length + Number(task.isFollowing);
  }

  /** Creates so many equal tasks, all or none. @returns the refusal, or `none` */
  create(ids: string[], request: NewTask): string {
    const { project, type, orchestrator, dependencies } = request;
    if (orchestrator && isOver(orchestrator)) return "orchestrator_finished";
    if (dependencies.some(({ status }) => status === "Failed" || status === "Cancelled"))
      return "invalid_dependency";
    const inCloud = orchestrator ? orchestrator.inCloud : project.user.allowsCloud;
    const bound = this.bound(type, request.children);
    const key = inCloud && project.reuses ? keyOf(request) : null;
    const result = this.#result(project, key);
    if (result) {
      const cost = reuseCost(type, bound, result);
      if (cost * ids.length > this.available(project.user)) return "insufficient_credits";
      for (const id of ids) {
        const task = this.add(id, request);
        task.inCloud = true;
        task.hold = cost;
        this.#reuse(task, result);
      }
      return "none";
    }
    const coveredWith = (count: number) => (orchestrator?.childrenHeld ?? 0) + bound * count;
    let missing = 0;
    // One after the other, as they are created: the first that is refused says why.
    for (let count = 1; count <= ids.length; count++) {
      if (this.openTasks(project.user) + count > this.maxOpenTasks) return "task_limit_reached";
      const covered = coveredWith(count);
      if (inCloud) missing = orchestrator ? covered - (orchestrator.hold ?? covered) : bound * count;
      if (missing > this.available(project.user)) return "insufficient_credits";
    }
    const covered = coveredWith(ids.length);
    if (inCloud && orchestrator) {
      orchestrator.childrenHeld = covered;
      orchestrator.bound = Math.max(orchestrator.bound, covered);
      if (orchestrator.hold !== undefined) orchestrator.hold += Math.max(missing, 0);
    }
    for (const id of ids) {
      const task = this.add(id, request);
      task.inCloud = inCloud;
      if (inCloud && !orchestrator) task.hold = bound;
      const leader = this.#leader(project, key);
      task.isFollowing = leader !== undefined;
      task.key = key;
      if (leader?.status === "Queued") leader.priority = Math.max(leader.priority, task.priority);
    }
    return "none";
  }

  /** A new task, without a word about its cover. */
  add(id: string, request: NewTask): ModelTask {
    const task: ModelTask = {
      ...request,
      id,
      age: this.tasks.size,
      inCloud: false,
      status: "Queued",
      isScheduled: request.isEarly,
      attempt: 0,
      attempts: 0,
      worker: null,
      byOwner: null,
      expired: null,
      bound: this.bound(request.type, request.children),
      childrenHeld: 0,
      hold: undefined,
      wasCharged: false,
      key: null,
      isFollowing: false,
      reused: null,
      namesFile: false,
      isResult: false,
      cost: null,
    };
    this.tasks.set(id, task);
    return task;
  }

  #result(project: ModelProject, key: string | null): ModelTask | undefined {
    return this.#equal(project, key).find(({ status, isResult }) => status === "Complete" && isResult);
  }

  /** The one of equal tasks that waits for a worker, or runs. */
  #leader(project: ModelProject, key: string | null): ModelTask | undefined {
    return this.#equal(project, key).find((task) => !isOver(task) && !task.isFollowing);
  }

  #equal(project: ModelProject, key: string | null): ModelTask[] {
    return key === null
      ? []
      : [...this.tasks.values()].filter((task) => task.project === project && task.key === key);
  }

  #reuse(task: ModelTask, result: ModelTask): void {
    task.cost = reuseCost(task.type, task.bound, result);
    Object.assign(task, {
      status: "Complete",
      isFollowing: false,
      key: null,
      reused: result.id,
      byOwner: result.byOwner,
    });
    this.#charge(task, task.cost);
  }

  /** What becomes of those who follow a run that is over. */
  #releaseFollowers({ project, key }: ModelTask): void {
    const followers = this.#equal(project, key).filter(({ isFollowing }) => isFollowing);
    if (this.#leader(project, key)) return;
    const result = this.#result(project, key);
    if (result) for (const task of followers) this.#reuse(task, result);
    else {
      const next = firstOf(followers);
      if (next) next.isFollowing = false;
    }
  }

  bound(type: ModelTaskType, children: number): number {
    if (!type.isOrchestrator) return type.price * (type.heldSeconds ?? 1);
    const segment = this.types.find(({ name }) => name === "travel_segment");
    assert.ok(segment);
    // So many segments, and the stitch, for which a minute is held.
    return children * this.bound(segment, 0) + 60 * segment.price;
  }

  openTasks(user: ModelUser): number {
    return [...this.tasks.values()].filter((task) => task.project.user === user && !isOver(task)).length;
  }

  held(user: ModelUser): number {
    let held = 0;
    for (const task of this.tasks.values()) if (task.project.user === user) held += task.hold ?? 0;
    return held;
  }

  available(user: ModelUser): number {
    return user.balance - this.held(user);
  }

  /** What this claim may take now. */
  claimable({ worker, ...options }: ClaimOptions): ModelTask[] {
    const { owner } = worker;
    if (owner && !owner.allowsLocal) return [];
    let { models } = options;
    if (options.sameModelOnly && worker.model !== null) {
      models = models === undefined || models.includes(worker.model) ? [worker.model] : [];
    }
    return this.byStatus("Queued").filter((task) => {
      const { project, type } = task;
      return (
        this.unmet(task) === 0 &&
        !task.isScheduled &&
        (options.runType === undefined || type.runType === options.runType) &&
        (options.taskTypes === undefined || options.taskTypes.includes(type.name)) &&
        (models === undefined || models.includes(task.model)) &&
        (owner ? project.user === owner : task.inCloud && project.user.allowsCloud) &&
        this.#running((running) => running.type === type) < (type.limit ?? Infinity) &&
        (type.isOrchestrator ||
          (this.#running((running) => takesSlot(running) && running.project.user === project.user) < 5 &&
            this.#running((running) => takesSlot(running) && running.project === project) <
              (project.limit ?? Infinity)))
      );
    });
  }

  #running(counts: (task: ModelTask) => boolean): number {
    return this.byStatus("In Progress").filter(counts).length;
  }

  /** Follows a claim that nobody disturbed: it had to take as much as it could, in its order, and nothing else. */
  claim(options: ClaimOptions, claimed: { task_id: string; attempt: number }[]): void {
    let taken = 0;
    while (taken < options.maxTasks) {
      const candidates = this.claimable(options);
      if (candidates.length === 0) break;
      const answer = claimed[taken];
      assert.ok(answer, `a claim got nothing, though it may take ${describe(candidates)}`);
      const task = this.tasks.get(answer.task_id);
      assert.ok(task && candidates.includes(task), `claimed ${answer.task_id}, which may not be claimed now`);
      assert.equal(answer.attempt, task.attempt + 1, "a claim is one attempt more");
      const acceptable = this.#next(candidates, options);
      assert.ok(
        acceptable.includes(task),
        `claimed ${describe([task])}, but next is ${describe(acceptable)}`,
      );
      this.#start(task, options.worker);
      taken++;
    }
    assert.equal(claimed.length, taken, "a claim takes no more than it may");
  }

  /** Those of which the claim has to take one. */
  #next(candidates: ModelTask[], { worker, models }: ClaimOptions): ModelTask[] {
    const { owner, model } = worker;
    const warm = candidates.filter((task) => model !== null && task.model === model);
    const prefersModel = model !== null && (models === undefined || models.includes(model));
    const pool = prefersModel && warm.length > 0 ? warm : candidates;
    const users = [...new Set(pool.map((task) => task.project.user))];
    const oldestTurn = Math.min(...users.map((user) => user.served));
    const next = users.filter((user) => owner || !this.#turnsAreKnown || user.served === oldestTurn);
    const acceptable = next.map((user) => firstOf(pool.filter((task) => task.project.user === user)));
    if (prefersModel && !owner && this.#hasOverdueLanes) {
      // Overdue tasks of other models go before; which are overdue is not the model's business.
      for (const task of candidates) {
        const lane = candidates.filter(
          ({ project, type, model: name }) =>
            project.user === task.project.user &&
            type === task.type &&
            name === task.model &&
            (project === task.project || (project.limit === null && task.project.limit === null)),
        );
        acceptable.push(firstOf(lane));
      }
    }
    return acceptable.filter((task) => task !== undefined);
  }

  #start(task: ModelTask, worker: ModelWorker): void {
    Object.assign(task, {
      status: "In Progress",
      attempt: task.attempt + 1,
      worker: worker.name,
      byOwner: worker.owner !== undefined,
      expired: null,
    });
    task.project.user.served = ++this.#turn;
  }

  /** What the queue's upkeep does for tasks. @returns whether there was any */
  releaseDue(): boolean {
    const due = this.byStatus("Queued").filter((task) => task.isScheduled && !task.isEarly);
    for (const task of due) task.isScheduled = false;
    const expired = this.byStatus("In Progress")
      .filter((task) => task.expired !== null)
      .sort((one, other) => (one.expired ?? 0) - (other.expired ?? 0));
    for (const task of expired) if (task.status === "In Progress") this.rescue(task);
    return due.length + expired.length > 0;
  }

  /** The refusal of a call by whoever says that they have this run, or `none`. */
  refusalOfRun(
    task: ModelTask,
    {
      byOwner,
      worker,
      attempt,
    }: { byOwner: boolean; worker?: string | undefined; attempt?: number | undefined },
  ): string {
    if (
      (attempt !== undefined && attempt !== task.attempt) ||
      (worker !== undefined && worker !== task.worker) ||
      ((task.status === "In Progress" || task.status === "Complete") && task.byOwner !== byOwner)
    )
      return "stale_attempt";
    if (task.status === "Cancelled") return "task_cancelled";
    return task.status === "In Progress" || task.status === "Complete" ? "none" : "task_not_running";
  }

  /** `complete_task`. @returns the refusal, or `none` */
  complete(task: ModelTask, caller: Parameters<QueueModel["refusalOfRun"]>[1]): string {
    const refused = this.refusalOfRun(task, caller);
    if (refused === "none" && task.status === "In Progress") this.finish(task, true, true);
    // The file is stored before the call, which may be a repeat or be refused: one that was lost is there again.
    task.isResult = task.namesFile;
    return refused;
  }

  /** `update_task_status`. @returns the refusal, or `none` */
  setStatus(
    task: ModelTask,
    { status, kind }: Transition,
    {
      worker,
      attempt,
      hasOutput,
    }: { worker?: string | undefined; attempt?: number | undefined; hasOutput: boolean },
  ): string {
    const was = task.status;
    const isOwners =
      kind !== "service" || (status === "Cancelled" && worker === undefined && attempt === undefined);
    if (
      (attempt !== undefined && attempt !== task.attempt) ||
      (worker !== undefined && worker !== task.worker)
    )
      return "stale_attempt";
    if (kind === "user" && status !== "Cancelled" && !(was === "Failed" && status === "Queued"))
      return "forbidden";
    if (
      kind !== "user" &&
      (was === "In Progress" || was === "Complete") &&
      status !== "Cancelled" &&
      task.byOwner !== (kind === "personal-access-token")
    )
      return "stale_attempt";
    if (was === "Complete" && status === "Complete" && hasOutput) return "none";
    if (was === "In Progress") {
      if (status === "In Progress") task.expired = null;
      else if (status === "Complete") this.finish(task, hasOutput);
      else if (status === "Queued") this.requeue(task);
      else this.end(task, status, isOwners);
      return "none";
    }
    if (was === "Queued" && (status === "Failed" || status === "Cancelled")) {
      this.end(task, status, isOwners);
      return "none";
    }
    if (was === "Failed" && status === "Queued") return this.retry(task);
    return was === "Cancelled" && kind !== "user" ? "task_cancelled" : "invalid_transition";
  }

  finish(task: ModelTask, hasOutput: boolean, hasFile = false): void {
    task.status = "Complete";
    task.namesFile = task.key !== null && hasFile;
    task.isResult = task.namesFile;
    task.expired = null;
    if (task.type.isOrchestrator) {
      const isOwners = task.byOwner ?? false;
      for (const child of this.#children(task)) if (!isOver(child)) this.end(child, "Cancelled", isOwners);
      this.#settle(task);
      return;
    }
    if (task.byOwner || !task.inCloud || !hasOutput) task.cost = 0;
    else task.cost = task.type.heldSeconds === null ? task.type.price : "by time";
    if (task.cost !== "by time") {
      this.#giveToOthers(task, task.cost);
      this.#charge(task, task.cost);
    }
    // A part that is complete shows that its orchestration goes on: see close_orchestrator().
    if (task.orchestrator?.status === "In Progress") task.orchestrator.expired = null;
    this.#releaseFollowers(task);
  }

  /** Back to the queue, or failed after the last attempt. */
  requeue(task: ModelTask): void {
    task.attempts++;
    if (task.attempts >= task.maxAttempts) this.end(task, "Failed", task.byOwner ?? false);
    else this.putBack(task);
  }

  /** Of a worker that is gone; an orchestrator with children had done its part. */
  rescue(task: ModelTask): void {
    if (task.type.isOrchestrator && this.#children(task).length > 0) this.putBack(task);
    else this.requeue(task);
  }

  putBack(task: ModelTask): void {
    Object.assign(task, { status: "Queued", worker: null, byOwner: null, expired: null });
  }

  /** Ends a task, and with it whoever cannot go on. What its owner ends costs the seconds that it ran in the cloud. */
  end(first: ModelTask, status: "Failed" | "Cancelled", isOwners: boolean): void {
    let relatives = [first];
    let dependants: ModelTask[] = [];
    const orchestrators: ModelTask[] = [];
    for (;;) {
      const ended = [...new Set([...relatives, ...dependants])].filter((task) => !isOver(task));
      if (ended.length === 0) break;
      for (const task of ended) {
        const hasRun = task.status === "In Progress" && task.inCloud && !task.byOwner;
        const isPaid = isOwners && hasRun && !task.type.isOrchestrator && task.type.heldSeconds !== null;
        task.status = relatives.includes(task) ? status : "Failed";
        task.expired = null;
        task.isScheduled = false;
        task.isFollowing = false;
        if (task.type.isOrchestrator) orchestrators.push(task);
        else if (isPaid) task.cost = "by time";
        else task.hold = undefined;
      }
      for (const task of ended) this.#releaseFollowers(task);
      relatives = ended.flatMap((task) => [
        ...this.#children(task),
        ...(task.orchestrator ? [task.orchestrator] : []),
      ]);
      dependants = [...this.tasks.values()].filter((task) =>
        task.dependencies.some((dependency) => ended.includes(dependency)),
      );
    }
    for (const task of orchestrators) this.#settle(task);
  }

  retry(task: ModelTask): string {
    if (task.wasCharged || (task.orchestrator && isOver(task.orchestrator))) return "invalid_transition";
    if (task.dependencies.some(({ status }) => status === "Failed" || status === "Cancelled"))
      return "invalid_dependency";
    if (this.openTasks(task.project.user) >= this.maxOpenTasks) return "task_limit_reached";
    if (task.inCloud && !task.orchestrator) {
      if (task.bound > this.available(task.project.user)) return "insufficient_credits";
      task.hold = task.bound;
    }
    if (!task.project.reuses) task.key = null;
    task.isFollowing = this.#leader(task.project, task.key) !== undefined;
    this.putBack(task);
    Object.assign(task, { attempts: 0, isScheduled: task.isEarly, cost: null });
    return "none";
  }

  /** A worker lives: all it runs stays with it. */
  heartbeat({ name, owner }: ModelWorker): void {
    for (const task of this.#runsOf(name, owner)) task.expired = null;
  }

  /** A worker has ended: what it ran goes back, in the order of ids. */
  crash({ name, owner }: ModelWorker): void {
    for (const task of this.#runsOf(name, owner)) if (task.status === "In Progress") this.rescue(task);
  }

  #runsOf(name: string, owner: ModelUser | undefined): ModelTask[] {
    return this.byStatus("In Progress")
      .filter((task) => task.worker === name && task.byOwner === (owner !== undefined))
      .filter((task) => owner === undefined || task.project.user === owner)
      .sort((one, other) => (one.id < other.id ? -1 : 1));
  }

  #children(orchestrator: ModelTask): ModelTask[] {
    return [...this.tasks.values()].filter((task) => task.orchestrator === orchestrator);
  }

  /** An orchestrator costs what its children cost: later, when the cost of one is not known yet. */
  #settle(orchestrator: ModelTask): void {
    let cost = 0;
    for (const child of this.#children(orchestrator)) {
      if (child.cost === "by time") {
        orchestrator.cost = "by time";
        return;
      }
      cost += child.cost ?? 0;
    }
    orchestrator.cost = cost;
    this.#charge(orchestrator, cost);
  }

  #charge(task: ModelTask, cost: number): void {
    if (task.hold === undefined) return;
    assert.ok(cost <= task.hold, `${task.id} costs ${cost} and only ${task.hold} was held`);
    task.project.user.balance -= cost;
    task.wasCharged ||= cost > 0;
    task.hold = undefined;
  }

  /** What a part that is complete did not use of what was held for it serves the other parts. */
  #giveToOthers(part: ModelTask, cost: number): void {
    if (part.inCloud && part.orchestrator) part.orchestrator.childrenHeld -= Math.max(part.bound - cost, 0);
  }

  /**
   * Holds the database against the model, to the last task. Where ends were left to the outbox, what ends both as a relative and
   * as a dependant may have ended as either.
   */
  compare(rows: QueueRows, endsMayDiffer = false): void {
    this.#note(rows);
    if (endsMayDiffer) {
      for (const { id, status } of rows.tasks) {
        const task = this.tasks.get(id);
        const hasFailed = (one: Status | undefined) => one === "Failed" || one === "Cancelled";
        if (task && hasFailed(task.status) && hasFailed(status)) task.status = status;
      }
    }
    for (const row of rows.tasks) {
      const task = this.tasks.get(row.id);
      assert.ok(task, `task ${row.id} came from nowhere`);
      if (task.cost === "by time" && !task.type.isOrchestrator) {
        assert.ok(
          row.cost !== null && row.cost > 0 && row.cost <= task.bound && row.cost % task.type.price === 0,
        );
        task.cost = row.cost;
        if (task.status === "Complete") this.#giveToOthers(task, row.cost);
        this.#charge(task, row.cost);
      }
    }
    const unsettled = [...this.tasks.values()].filter(({ cost }) => cost === "by time");
    // Inner orchestrations before the outer ones.
    while (unsettled.some(({ cost }) => cost === "by time")) for (const task of unsettled) this.#settle(task);
    const expected = [...this.tasks.values()].map((task) => ({
      id: task.id,
      status: task.status,
      attempt: task.attempt,
      attempts: task.attempts,
      ...(isOver(task) ? {} : { worker: task.worker, byOwner: task.byOwner, unmet: this.unmet(task) }),
      isScheduled: task.isScheduled,
      cost: task.cost,
      hold: task.hold ?? null,
      wasCharged: task.wasCharged,
      childrenHeld: task.childrenHeld,
      inCloud: task.inCloud,
      isEarly: task.isEarly,
      expired: task.expired,
      hasKey: task.key !== null,
      isFollowing: task.isFollowing,
      reused: task.reused,
      namesFile: task.namesFile,
      isResult: task.isResult,
      priority: task.priority,
    }));
    const actual = rows.tasks.map(({ unmet, worker, byOwner, ...row }) => ({
      ...row,
      ...(["Queued", "In Progress"].includes(row.status) && { worker, byOwner, unmet }),
    }));
    assert.deepEqual(
      new Map(actual.map((row) => [row.id, row])),
      new Map(expected.map((row) => [row.id, row])),
    );
    for (const user of this.users) {
      assert.equal(rows.users.find(({ id }) => id === user.id)?.balance, user.balance, "a user's balance");
    }
  }

  /**
   * Takes over what steps at the same moment made of the queue; that it is sound, invariants have said. What is
   * known of every order is checked: no task goes back in its attempts, and what is over stays so or is retried.
   */
  adopt(rows: QueueRows): void {
    for (const row of rows.tasks) {
      const task = this.tasks.get(row.id);
      assert.ok(task, `task ${row.id} came from nowhere`);
      assert.ok(row.attempt >= task.attempt, "attempts only rise");
      if (task.status === "Complete" || task.status === "Cancelled") assert.equal(row.status, task.status);
      const { unmet: _, hold, hasKey, ...rest } = row;
      Object.assign(task, rest, { hold: hold ?? undefined, key: hasKey ? keyOf(task) : null });
    }
    for (const user of this.users)
      Object.assign(
        user,
        rows.users.find(({ id }) => id === user.id),
      );
    for (const project of this.projects)
      Object.assign(
        project,
        rows.projects.find(({ id }) => id === project.id),
      );
    for (const type of this.types)
      Object.assign(
        type,
        rows.types.find(({ name }) => name === type.name),
      );
    for (const worker of this.workers) {
      worker.model = rows.workers.find(({ id }) => id === rowIdOf(worker))?.model ?? null;
    }
    this.#turnsAreKnown = true;
    for (const user of this.users) {
      const turn = rows.users.find(({ id }) => id === user.id)?.turn ?? null;
      if (turn === null) this.#turnsAreKnown = false;
      else user.served = turn;
      this.#turn = Math.max(this.#turn, user.served);
    }
    this.#note(rows);
  }

  #note(rows: QueueRows): void {
    rows.tasks.forEach(({ id }, age) => {
      const task = this.tasks.get(id);
      if (task) task.age = age;
    });
    this.#hasOverdueLanes = rows.hasOverdueLanes;
    if (rows.hasMarks) this.#turnsAreKnown = false;
  }
}

/** The id of a worker's row: as it calls itself in the cloud, behind its owner's id elsewhere. */
export function rowIdOf({ name, owner }: ModelWorker): string {
  return owner ? `${owner.id}:${name}` : name;
}

export function isOver({ status }: ModelTask): boolean {
  return status !== "Queued" && status !== "In Progress";
}

/** What a task's output is decided by; null where it is not, or not by the task alone. */
function keyOf({
  type,
  model,
  seed,
  orchestrator,
  dependencies,
  isEarly,
}: Omit<NewTask, "children">): string | null {
  const isPart = orchestrator !== undefined || dependencies.length > 0 || isEarly;
  return type.reusePrice === null || seed === null || isPart ? null : `${type.name} ${model} ${seed}`;
}

function reuseCost({ reusePrice }: ModelTaskType, bound: number, { byOwner }: ModelTask): number {
  return byOwner ? 0 : Math.min(reusePrice ?? 0, bound);
}

function takesSlot({ type }: ModelTask): boolean {
  return !type.isOrchestrator;
}

/** By priority, then age. */
function firstOf(tasks: ModelTask[]): ModelTask | undefined {
  return [...tasks].sort((one, other) => other.priority - one.priority || one.age - other.age)[0];
}

function describe(tasks: ModelTask[]): string {
  return tasks
    .map(
      ({ id, type, model, priority, age }) =>
        `${id} (${type.name}, model "${model}", priority ${priority}, age ${age})`,
    )
    .join(" or ");
}
