/**
 * Marks of processes that work in parts, on any machine. A mark changes every few seconds while its process lives. So a process
 * of another machine can be distinguished from one that was killed without comparing clocks. There is no lock: whoever must be alone
 * leaves its mark first and looks for others then, so that of two at least one sees the other.
 */
import { randomBytes } from 'node:crypto'
import os from 'node:os'
import { ownMark } from '../../core/system/processStart.js'
import { isAliveHere } from '../local/lock.js'
import type { MeetingPlace } from './types.js'

const EXTENSION = '.running'
const MOST_MARK = 2000

interface Mark {
  readonly host: string
  readonly process: string
  readonly beat: number
}

export interface Presence {
  /** The name of the mark. */
  readonly name: string
  /** Removes the mark. */
  leave(): Promise<void>
}

/** A process that works there. */
export interface Present {
  readonly role: string
  readonly host: string
}

/** Leaves a mark for this process. `role`: what it does, such as `part-3`. */
export async function enter(place: MeetingPlace, role: string): Promise<Presence> {
  const name = `${role}.${randomBytes(8).toString('hex')}`
  const mark = `${name}${EXTENSION}`
  const self = { host: os.hostname(), process: `${process.pid} ${ownMark(process.pid)}` }
  const text = (beat: number) => `${JSON.stringify({ ...self, beat } satisfies Mark)}\n`
  let beat = 0
  await place.write(mark, text(beat))
  // One after another: a late change must not come after the end.
  let beating = Promise.resolve()
  const timer = setInterval(() => {
    beating = beating.then(() => place.refresh(mark, text(++beat))).catch(() => {})
  }, place.pace.beat)
  timer.unref()
  return {
    name,
    async leave() {
      clearInterval(timer)
      await beating
      await place.remove(mark).catch(() => {})
    },
  }
}

/**
 * The processes there whose role fits, except for `own`. Waits until it is certain that those of other machines live: their marks
 * change. A mark that does not change is one of a killed process, and is removed. `waiting` is called before a wait.
 */
export async function othersIn(
  place: MeetingPlace,
  own: Presence,
  fits: (role: string) => boolean,
  {
    waiting,
    signal,
  }: { readonly waiting?: (hosts: readonly string[]) => void; readonly signal?: AbortSignal | undefined } = {},
): Promise<Present[]> {
  const { patience, pause } = place.pace
  const roleOf = (name: string) => name.slice(0, name.lastIndexOf('.'))
  const names = async () =>
    (await place.names())
      .filter((name) => name.endsWith(EXTENSION))
      .map((name) => name.slice(0, -EXTENSION.length))
      .filter((name) => name !== own.name && fits(roleOf(name)))
  const first = new Map<string, Mark>()
  const living: Present[] = []
  for (const name of await names()) {
    const mark = await readMark(place, name)
    if (!mark) continue
    const here = mark.host === os.hostname() ? isAliveHere(mark.process) : undefined
    if (here === undefined) first.set(name, mark)
    else if (here) living.push({ role: roleOf(name), host: mark.host })
    else await place.remove(`${name}${EXTENSION}`)
  }
  if (first.size > 0 && living.length === 0) waiting?.([...new Set([...first.values()].map(({ host }) => host))])
  const until = Date.now() + patience
  while (first.size > 0 && living.length === 0 && Date.now() < until && !signal?.aborted) {
    await new Promise((resolve) => setTimeout(resolve, pause))
    for (const [name, before] of first) {
      const mark = await readMark(place, name)
      if (!mark) first.delete(name)
      else if (mark.beat !== before.beat) living.push({ role: roleOf(name), host: mark.host })
    }
  }
  if (living.length === 0 && !signal?.aborted)
    for (const name of first.keys()) await place.remove(`${name}${EXTENSION}`)
  return living
}

async function readMark(place: MeetingPlace, name: string): Promise<Mark | undefined> {
  const text = await place.read(`${name}${EXTENSION}`, MOST_MARK)
  try {
    const { host, process, beat } = JSON.parse(text ?? '') as Mark
    return typeof host === 'string' && typeof process === 'string' ? { host, process, beat } : undefined
  } catch {
    return undefined
  }
}
