/** What one attempt at a part records, and what it knows of other attempts, wherever these were. */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { type EarlierWork, parseJournal, readJournal } from '../../execute/journal.js'
import type { Plan } from '../../plan/types.js'
import { ownName } from '../../storage/local/shared/folder.js'
import { namesOf } from '../../storage/meeting/records.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import { parseSent, type SentFile } from './records.js'

/** Milliseconds between copies of a journal into a store. */
const PAUSE = 30_000
/** Bytes of a journal in a store. */
const MOST = 2 ** 30

export interface Attempt {
  readonly name: string
  /** The file of its journal on this machine, or in the folder that all share. */
  readonly journal: string
  readonly others: readonly EarlierWork[]
  /** Makes the journal known to other machines. */
  save(): Promise<void>
  /** Removes the journal: the part has its record. */
  close(): Promise<void>
  /** Ends it, whether the part is done or not. */
  end(): void
}

/** `scratch`: a folder of this process, for places without a shared file system. */
export async function openAttempt(place: MeetingPlace, role: string, scratch: string | undefined): Promise<Attempt> {
  const name = `${role}.${ownName()}`
  const names = (await namesOf(place, '.journal')).filter((one) => one.startsWith(`${role}.`))
  const { folder } = place
  if (folder !== undefined)
    return {
      ...{ name, journal: path.join(folder, `${name}.journal`) },
      others: names.map((one) => readJournal(path.join(folder, `${one}.journal`))),
      save: async () => {},
      close: () => place.remove(`${name}.journal`),
      end: () => {},
    }
  const journal = path.join(scratch!, 'journal')
  const texts = await Promise.all(names.map((one) => place.read(`${one}.journal`, MOST)))
  let saved = 0
  let saving = Promise.resolve()
  const save = (): Promise<void> => {
    saving = saving.then(async () => {
      const text = await readFile(journal).catch(() => undefined)
      if (text === undefined || text.length === saved) return
      await place.write(`${name}.journal`, new Uint8Array(text))
      saved = text.length
    })
    return saving
  }
  // A failure is one of the next copy as well.
  const timer = setInterval(() => void save().catch(() => {}), PAUSE)
  timer.unref()
  return {
    ...{ name, journal, save },
    others: texts.flatMap((text) => (text === undefined ? [] : parseJournal(text))),
    async close() {
      await saving.catch(() => {})
      if (saved > 0) await place.remove(`${name}.journal`)
    },
    end: () => clearInterval(timer),
  }
}

/** What attempts at a part have uploaded. Without a role: at all parts. */
export async function sentByAttempts(
  place: MeetingPlace,
  of: { readonly digest: string; readonly plan: Plan },
  role?: string,
): Promise<SentFile[]> {
  const names = (await namesOf(place, '.sent')).filter((name) => role === undefined || name.startsWith(`${role}.`))
  const texts = await Promise.all(names.map((name) => place.read(`${name}.sent`, MOST)))
  return texts.flatMap((text) => (text === undefined ? [] : parseSent(text, of)))
}
