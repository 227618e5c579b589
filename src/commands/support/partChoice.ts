/** The part of a run that a machine does: as written, or from the variables of what started the process. */
import { fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import type { PartChoice } from '../../index.js'

/** The index of a task among those that were started together. */
interface Task {
  /** The variable that it is read from. */
  readonly variable: string
  /** From 0. */
  readonly index: number
  /** How many tasks were started together, if that is certain. */
  readonly count?: number
  /** Not all tasks of the array were started, so that the index can be that of another part. */
  readonly alone?: string
}

type Env = Readonly<Record<string, string | undefined>>

/** The choice of `--part`: `I/N`, `auto/N`, `auto` or `analyse`. Errors: `bad-flag`, `no-task`. */
export function partChoice(written: string, env: Env): PartChoice {
  if (written === 'analyse') return 'analyse'
  const [, index, of] = /^(auto|\d{1,9})(?:\/(\d{1,9}))?$/.exec(written) ?? []
  if (index === undefined || (index !== 'auto' && of === undefined))
    throw fault('bad-flag', `--part must be I/N, auto/N, auto or analyse, not ${quote(written)}`, 'write --part 0/16')
  if (index !== 'auto') return checked({ index: Number(index), of: Number(of) }, written)
  const task = taskOf(env)
  if (of === undefined) {
    if (task.count === undefined || task.alone !== undefined)
      throw fault(
        'no-task',
        `${task.variable} says which part this is, but ${task.alone ?? 'nothing says how many there are'}`,
        'write --part auto/N with the number of parts',
      )
    return checked({ index: task.index, of: task.count }, written)
  }
  if (task.count !== Number(of) && (task.alone !== undefined || task.count !== undefined))
    throw fault(
      'no-task',
      `${task.variable} does not say which of ${of} parts this is: ${task.alone ?? `there are ${task.count} tasks`}`,
      `write the part: --part 0/${of}`,
    )
  return checked({ index: task.index, of: Number(of) }, written)
}

function checked(choice: { readonly index: number; readonly of: number }, written: string): PartChoice {
  const { index, of } = choice
  if (of >= 1 && index < of) return choice
  throw fault(
    'bad-flag',
    of < 1
      ? `--part ${written}: there must be at least 1 part`
      : `--part ${written}: there is no part ${index} of ${of}`,
    of < 1 ? 'write --part 0/16' : `parts are counted from 0: the last one is ${of - 1}/${of}`,
  )
}

/** Error: `no-task` if no variable says which task this is, or two contradict each other. */
function taskOf(env: Env): Task {
  const tasks = SOURCES.flatMap((source) => source(env) ?? [])
  const [first] = tasks
  if (!first)
    throw fault(
      'no-task',
      '--part auto needs a variable that says which task this is, such as SLURM_ARRAY_TASK_ID',
      'write the part: --part 0/16',
    )
  const other = tasks.find(({ index }) => index !== first.index)
  if (other)
    throw fault(
      'no-task',
      `${first.variable} and ${other.variable} contradict each other: ${first.index} and ${other.index}`,
      'write the part: --part 0/16',
    )
  return tasks.find(({ count }) => count !== undefined) ?? first
}

const number = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined

/** An array of tasks whose lowest and highest number the variables say. */
function inArray(
  env: Env,
  variable: string,
  {
    min,
    max,
    step,
    count: counted,
  }: { readonly min: string; readonly max: string; readonly step: string; readonly count?: string },
): Task | undefined {
  const id = number(env[variable])
  if (id === undefined) return undefined
  const [low, high] = [number(env[min]), number(env[max])]
  const stride = number(env[step]) || 1
  const index = low === undefined ? id : (id - low) / stride
  if (low === undefined || high === undefined)
    return { variable, index, alone: `${min} and ${max} do not say where the array begins and ends` }
  const whole = (high - low) / stride + 1
  const count = counted === undefined ? whole : number(env[counted])
  // A task that was submitted again by itself, or a list of numbers with gaps.
  if (count !== whole || !Number.isInteger(index))
    return { variable, index, alone: `${count ?? 'not all'} of its tasks were submitted` }
  return { variable, index, count, ...(whole === 1 ? { alone: '1 task was submitted' } : {}) }
}

/** A variable with an index from 0, and one with the number of tasks. */
const counted =
  (variable: string, total?: string) =>
  (env: Env): Task | undefined => {
    const index = number(env[variable])
    const count = total === undefined ? undefined : number(env[total])
    return index === undefined ? undefined : { variable, index, ...(count === undefined ? {} : { count }) }
  }

const SOURCES: readonly ((env: Env) => Task | undefined)[] = [
  (env) =>
    inArray(env, 'SLURM_ARRAY_TASK_ID', {
      min: 'SLURM_ARRAY_TASK_MIN',
      max: 'SLURM_ARRAY_TASK_MAX',
      step: 'SLURM_ARRAY_TASK_STEP',
      count: 'SLURM_ARRAY_TASK_COUNT',
    }),
  (env) => inArray(env, 'SGE_TASK_ID', { min: 'SGE_TASK_FIRST', max: 'SGE_TASK_LAST', step: 'SGE_TASK_STEPSIZE' }),
  // Kubernetes gives no number of tasks.
  counted('JOB_COMPLETION_INDEX'),
  counted('AWS_BATCH_JOB_ARRAY_INDEX', 'AWS_BATCH_JOB_ARRAY_SIZE'),
  counted('SKYPILOT_NODE_RANK', 'SKYPILOT_NUM_NODES'),
  counted('BATCH_TASK_INDEX', 'BATCH_TASK_COUNT'),
  counted('CLOUD_RUN_TASK_INDEX', 'CLOUD_RUN_TASK_COUNT'),
]
