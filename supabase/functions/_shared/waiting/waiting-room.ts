/** A lane turned ready or open, or its tasks may be claimed by more than before: there may be a task for a claim of such. */
export interface LaneNews {
  kind: "lane";
  /** Undefined: of any user. */
  userId: string | undefined;
  runType: string;
  /** The lane's type, and the other names that it may be asked for by. */
  taskTypes: readonly string[];
  /** Undefined: any model. */
  model: string | undefined;
  /** Whether the cloud may take of it; its owner always may. */
  isOpen: boolean;
}

export interface TaskNews {
  kind: "task";
  taskId: string;
  status: string;
}

export type News = LaneNews | TaskNews;

/** A task to claim. What is undefined does not matter. */
export interface WantedTask {
  kind: "lane";
  /** Whose; anybody's that the cloud may take, when undefined. */
  ownerId: string | undefined;
  runType: string | undefined;
  taskTypes: readonly string[] | undefined;
  models: readonly string[] | undefined;
  /** What runs it, where that is no own worker: such a claim may find what another does not, and the reverse. */
  provider?: string | undefined;
}

/** Another status of one task than these. */
export interface WantedStatus {
  kind: "task";
  taskId: string;
  notStatuses: readonly string[];
}

export type Wanted = WantedTask | WantedStatus;

/** Milliseconds between a group's looks: `first` after one for news, then longer by `factor`, up to `longest`. */
export interface Pace {
  first: number;
  factor: number;
  longest: number;
}

export interface WaitingRoomOptions {
  /** Whether news is told at this moment. */
  hearsNews?: () => boolean;
  /** While it is told: a look now and then, should some be lost. */
  told?: Pace;
  /** While it is not: looks are all there is. */
  untold?: Pace;
  /** Of all groups together, of those that no news called for. */
  looksPerSecond?: number;
  seats?: number;
  seatsOfUser?: number;
}

/** What an endpoint is given to hold its request by. */
export interface Waiting {
  now(): number;
  /** As `WaitingRoom.hold`; credentials are checked again before each look and after it all, and nothing more is counted. */
  hold<T>(
    wanted: Wanted,
    times: Pick<Hold, "seconds" | "since">,
    look: () => Promise<T | null>,
  ): Promise<T | null>;
  /** Whose wait it is, once a first call has shown it; nobody's for the service. */
  userId(): string | undefined;
  /** Whether nobody will read the answer. */
  isAbandoned(): boolean;
}

export interface Hold {
  seconds: number;
  /** `now()` before the look that found nothing: what was told since is not missed. */
  since: number;
  /** Whose seat it is; the service's are limited only together with all others. */
  userId: string | undefined;
  /** Aborted when nobody waits for the answer any more. */
  signal: AbortSignal;
}

interface Group {
  topic: string;
  key: string;
  wanted: Wanted;
  /** In the order in which they came; who looks keeps its seat. */
  seats: Set<Seat>;
  /** The one who was sent to look. */
  looking: Seat | undefined;
  /** The latest news, and the latest that a look, begun after it, has found to be stale. */
  told: number;
  answered: number;
  lookedAt: number;
  /** Empty looks since the latest news. */
  emptyLooks: number;
  jitter: number;
}

const tickMilliseconds = 20;
const keptNews = 1_000;

/**
 * Where requests wait for what is not there yet. Those that wait for the same thing are a group, and of a
 * group one at a time looks: when there is news, else now and then. Whoever finds something sends the next,
 * for there may be more; whoever does not keeps its seat. So waiting costs by groups, not by requests, and
 * no news wakes a crowd. News is a hint; nothing rests on its being true, or on its coming at all.
 */
export class WaitingRoom {
  readonly #hearsNews: () => boolean;
  readonly #toldPace: Pace;
  readonly #untoldPace: Pace;
  readonly #looksPerSecond: number;
  readonly #largest: number;
  readonly #largestOfUser: number;
  readonly #groups = new Map<string, Map<string, Group>>();
  #groupCount = 0;
  readonly #seats = new Set<Seat>();
  readonly #seatsOfUser = new Map<string, number>();
  /** The latest news, for those who were looking when it was told. */
  #recent: { number: number; topics: readonly string[]; isFor: (group: Group) => boolean }[] = [];
  #number = 0;
  #heard = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;

  constructor(options: WaitingRoomOptions = {}) {
    this.#hearsNews = options.hearsNews ?? (() => false);
    // Soon again at first: the log tells of a commit a moment before other transactions see it.
    this.#toldPace = options.told ?? { first: 20, factor: 4, longest: 5_000 };
    this.#untoldPace = options.untold ?? { first: 500, factor: 1.5, longest: 2_000 };
    this.#looksPerSecond = options.looksPerSecond ?? 200;
    this.#largest = options.seats ?? 10_000;
    this.#largestOfUser = options.seatsOfUser ?? 100;
  }

  /** Requests that wait at this moment. */
  get size(): number {
    return this.#seats.size;
  }

  /** How much was told so far. */
  now(): number {
    return this.#number;
  }

  tell(news: News): void {
    const topics = topicsOf(news);
    this.#note(topics, ({ wanted }) => meets(news, wanted));
  }

  /**
   * Holds a request until `look` finds something: never more than one look of a group at a time. Null when
   * the time is over, the client is gone, the room closes, or too many wait already.
   */
  async hold<T>(
    wanted: Wanted,
    { seconds, since, userId, signal }: Hold,
    look: () => Promise<T | null>,
  ): Promise<T | null> {
    if (this.#isClosed || signal.aborted || !this.#hasSeatFor(userId)) return null;
    const seat = new Seat();
    const group = this.#take(seat, wanted, since, userId);
    const end = () => seat.end();
    const timer = setTimeout(end, seconds * 1000);
    signal.addEventListener("abort", end);
    try {
      for (;;) {
        const isSent = seat.wait();
        this.#sendNext(group);
        if (!(await isSent) || seat.isOver) return null;
        const found = await this.#look(group, look);
        if (found !== null) {
          this.#note([group.topic], (other) => other.key === group.key);
          return found;
        }
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      this.#leave(group, seat, userId);
    }
  }

  /** Ends all waiting at once, also that of requests to come. */
  close(): void {
    this.#isClosed = true;
    for (const seat of this.#seats) seat.end();
  }

  async #look<T>(group: Group, look: () => Promise<T | null>): Promise<T | null> {
    const begun = this.#number;
    try {
      return await look();
    } finally {
      // Also when it failed: what ails one look may ail the next, which so comes a little later.
      group.answered = begun;
      group.emptyLooks++;
      group.lookedAt = performance.now();
      group.jitter = 0.75 + Math.random() / 2;
      group.looking = undefined;
    }
  }

  #hasSeatFor(userId: string | undefined): boolean {
    if (this.#seats.size >= this.#largest) return false;
    return userId === undefined || (this.#seatsOfUser.get(userId) ?? 0) < this.#largestOfUser;
  }

  #take(seat: Seat, wanted: Wanted, since: number, userId: string | undefined): Group {
    this.#seats.add(seat);
    if (userId !== undefined) this.#seatsOfUser.set(userId, (this.#seatsOfUser.get(userId) ?? 0) + 1);
    const topic = topicOf(wanted);
    const key = keyOf(wanted, userId);
    let groups = this.#groups.get(topic);
    if (!groups) this.#groups.set(topic, (groups = new Map<string, Group>()));
    let group = groups.get(key);
    if (!group) {
      group = {
        topic,
        key,
        wanted,
        seats: new Set(),
        looking: undefined,
        told: since,
        answered: since,
        lookedAt: performance.now(),
        // Nothing was heard of: there is no reason to look soon, if it would be heard of.
        emptyLooks: this.#hearsNews() ? Infinity : 0,
        jitter: 0.75 + Math.random() / 2,
      };
      groups.set(key, group);
      this.#groupCount++;
      this.#catchUp(group);
    }
    group.seats.add(seat);
    if (this.#timer === undefined) {
      this.#heard = this.#hearsNews();
      this.#timer = setInterval(() => this.#tick(), tickMilliseconds);
    }
    return group;
  }

  /** What was told while the group's first member was looking, and nobody of it was here. */
  #catchUp(group: Group): void {
    if (group.answered === this.#number) return;
    const oldest = this.#recent[0]?.number ?? Infinity;
    const isForgotten = oldest > group.answered + 1;
    const missed = this.#recent.filter(
      ({ number, topics, isFor }) => number > group.answered && topics.includes(group.topic) && isFor(group),
    );
    if (!isForgotten && missed.length === 0) return;
    group.told = this.#number;
    group.emptyLooks = 0;
  }

  #leave(group: Group, seat: Seat, userId: string | undefined): void {
    this.#seats.delete(seat);
    if (userId !== undefined) {
      const left = (this.#seatsOfUser.get(userId) ?? 1) - 1;
      if (left > 0) this.#seatsOfUser.set(userId, left);
      else this.#seatsOfUser.delete(userId);
    }
    group.seats.delete(seat);
    if (group.looking === seat) group.looking = undefined;
    if (group.seats.size > 0) {
      this.#sendNext(group);
      return;
    }
    const groups = this.#groups.get(group.topic);
    groups?.delete(group.key);
    this.#groupCount--;
    if (groups?.size === 0) this.#groups.delete(group.topic);
    if (this.#groups.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  #note(topics: readonly string[], isFor: (group: Group) => boolean): void {
    const number = ++this.#number;
    this.#recent.push({ number, topics, isFor });
    if (this.#recent.length > 2 * keptNews) this.#recent = this.#recent.slice(-keptNews);
    for (const topic of topics) {
      for (const group of this.#groups.get(topic)?.values() ?? []) {
        if (!isFor(group)) continue;
        group.told = number;
        group.emptyLooks = 0;
        this.#sendNext(group);
      }
    }
  }

  /** Sends the one who has waited longest, if there is news that nobody has looked after. */
  #sendNext(group: Group): void {
    if (group.told > group.answered) this.#send(group);
  }

  #send(group: Group): void {
    if (group.looking) return;
    for (const seat of group.seats) {
      if (!seat.isWaiting) continue;
      group.looking = seat;
      seat.send();
      return;
    }
  }

  #tick(): void {
    const hears = this.#hearsNews();
    const isHeardAgain = hears && !this.#heard;
    this.#heard = hears;
    const pace = hears ? this.#toldPace : this.#untoldPace;
    const shortest = (this.#groupCount * 1000) / this.#looksPerSecond;
    const now = performance.now();
    for (const groups of this.#groups.values()) {
      for (const group of groups.values()) {
        // What was said while nobody listened is lost.
        if (isHeardAgain) group.emptyLooks = 0;
        const looks = Math.max(0, group.emptyLooks - 1);
        const wait = Math.max(shortest, Math.min(pace.longest, pace.first * pace.factor ** looks));
        if (now >= group.lookedAt + wait * group.jitter) this.#send(group);
      }
    }
  }
}

/** One request's wait: it ends by being sent to look, or for good. */
class Seat {
  isOver = false;
  #resolve: ((isSent: boolean) => void) | undefined;

  get isWaiting(): boolean {
    return this.#resolve !== undefined;
  }

  wait(): Promise<boolean> {
    if (this.isOver) return Promise.resolve(false);
    return new Promise((resolve) => (this.#resolve = resolve));
  }

  send(): void {
    this.#settle(true);
  }

  end(): void {
    this.isOver = true;
    this.#settle(false);
  }

  #settle(isSent: boolean): void {
    this.#resolve?.(isSent);
    this.#resolve = undefined;
  }
}

/** Groups are found by topic, so that news of one user's lanes passes by the groups of all others. */
function topicsOf(news: News): string[] {
  if (news.kind === "task") return [`task:${news.taskId}`];
  const own = news.userId === undefined ? [] : [`lanes:${news.userId}`];
  return news.isOpen ? ["lanes", ...own] : own;
}

function topicOf(wanted: Wanted): string {
  if (wanted.kind === "task") return `task:${wanted.taskId}`;
  return wanted.ownerId === undefined ? "lanes" : `lanes:${wanted.ownerId}`;
}

/** Who has the same key finds the same. */
function keyOf(wanted: Wanted, userId: string | undefined): string {
  const parts =
    wanted.kind === "task"
      ? [sorted(wanted.notStatuses)]
      : [wanted.runType, sorted(wanted.taskTypes), sorted(wanted.models), wanted.provider];
  return JSON.stringify([userId ?? null, ...parts.map((part) => part ?? null)]);
}

function sorted(names: readonly string[] | undefined): string[] | undefined {
  return names && [...new Set(names)].sort();
}

function meets(news: News, wanted: Wanted): boolean {
  if (news.kind === "task") return wanted.kind === "task" && !wanted.notStatuses.includes(news.status);
  if (wanted.kind !== "lane") return false;
  const { runType, taskTypes, models } = wanted;
  return (
    (runType === undefined || runType === news.runType) &&
    (taskTypes === undefined || taskTypes.some((name) => news.taskTypes.includes(name))) &&
    (models === undefined || news.model === undefined || models.includes(news.model))
  );
}
