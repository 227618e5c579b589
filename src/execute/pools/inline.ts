import { elements } from '../../core/dtypes.js'
import { shareFiles } from '../../core/resources.js'
import { WebAssembly } from '../../core/webassembly.js'
import { leafCount } from '../../expr/cost.js'
import { scopesOf } from '../../expr/scopes.js'
import type { AnalysisTensor } from '../../expr/types.js'
import { createTeamMemory, resetTeam } from '../../kernels/dense/team.js'
import { ARENA_START, instantiateKernels } from '../../kernels/index.js'
import type { Plan } from '../../plan/types.js'
import type { TensorReader } from '../../steps/types.js'
import { openWindows, type WindowFile } from '../../storage/local/window.js'
import { compileValues } from '../compile/tensor.js'
import { fileCache, openInput } from '../files.js'
import type { Findings } from '../findings.js'
import type { Program } from '../program.js'
import { type Pool, schedule } from '../schedule/schedule.js'
import { findScopes } from '../schedule/scopes.js'
import { windowMode } from '../windowMode.js'
import type { WorkerContext } from '../worker/context.js'
import { type Prepared, prepare } from '../worker/evaluate.js'
import { ARENA_END, slotBytes } from './threads.js'

/** Reads tensors on the calling thread: for analyses, and for what they compute of models while tensors are written. */
export interface LocalReader extends TensorReader {
  /** The same in the midst of a read, for what that has to have computed: who waited for the turn would wait for itself. */
  readonly inner: TensorReader
  /** The plan's scopes that are known, and those that these tensors hang on. */
  scopes(tensors: readonly AnalysisTensor[]): Promise<Findings['scopes']>
  close(): void
}

const WASM_PAGE = 65536
/** Tiles a task: nobody else waits for the next one. */
const TASK_BYTES = 16 * 2 ** 20

function teamOfOne(bytes: number): NonNullable<WorkerContext['team']> {
  const memory = createTeamMemory(bytes, 1)
  return { memory, thread: 0, instance: new WebAssembly.Instance(memory.module, { env: { memory: memory.memory } }) }
}

/** A reader of a plan's tensors; `tensors` are those that it may be asked for. */
export function openLocal(
  plan: Plan,
  inputs: readonly string[],
  module: WebAssembly.Module,
  tensors: readonly AnalysisTensor[],
  findings: () => Findings,
): LocalReader {
  const mode = windowMode()
  const all = [...tensors, ...plan.scopes.flatMap((scope) => scope.tensors)]
  const leaves = all.reduce((most, { name, shape, expr }) => Math.max(most, leafCount(expr, name, shape)), 1)
  const reach = all.reduce((most, { shape }) => Math.max(most, shape.at(-1) ?? 1), 1)
  const size = slotBytes(mode, leaves, reach)
  const pages = Math.ceil((ARENA_END + leaves * size) / WASM_PAGE)
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
  const kernels = instantiateKernels(module, memory)
  const windows = openWindows(memory, mode)
  const files = fileCache((index): WindowFile => {
    const path = inputs[index]!
    return { fd: openInput(path), path, size: plan.files[index]!.size }
  }, shareFiles(1).files)
  /** One tensor at a time, and what it hangs on: each may take as much memory as the plan allows for. */
  let last: Promise<unknown> = Promise.resolve()
  const worker: Omit<WorkerContext, 'write'> = {
    kernels,
    memory,
    windows,
    slots: Array.from({ length: leaves }, (_, index) => windows.slot(ARENA_END + index * size, size)),
    slotRoom: size - windows.pageSize,
    scratch: { start: ARENA_START, bytes: ARENA_END - ARENA_START },
    input: files.get,
  }
  async function readOne(tensor: Omit<AnalysisTensor, 'dtype'>, values: Float32Array): Promise<void> {
    const target = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    const job = compileValues(plan, tensor, findings())
    await schedule([job], localPool(target), { math: kernels.math, finished: () => {}, progress: () => {} })
  }
  /** Does every task at once, where it is called: no two are under way, so that they can share the scratch space. */
  function localPool(target: Uint8Array = new Uint8Array(0)): Pool {
    const write: WorkerContext['write'] = (_, address, bytes, offset) =>
      target.set(new Uint8Array(memory.buffer, address, bytes), offset)
    const programs = new Map<number, { readonly prepared: Prepared; readonly team: WorkerContext['team'] }>()
    let jobs = 0
    const known = (job: number, program: Program) => {
      const found = programs.get(job)
      if (found) return found
      const team = program.held && teamOfOne(program.held.bytes)
      const made = { prepared: prepare(program, { ...worker, write, ...(team ? { team } : {}) }), team }
      programs.set(job, made)
      return made
    }
    const run: Pool['run'] = async (task, program) => known(task.job, program).prepared.run(task)
    return {
      capacity: 1,
      // What is read comes tile by tile, so that no window bounds a task.
      taskBytes: mode === 'read' ? TASK_BYTES : Math.min(TASK_BYTES, size - 2 * WASM_PAGE - 2 * reach * 8),
      newJob: () => jobs++,
      run,
      together(task, program) {
        const { team } = known(task.job, program)
        if (team) resetTeam(team.memory)
        return run(task, program)
      },
      stop: () => {},
    }
  }
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work)
    last = next.catch(() => {})
    return next
  }

  const inner: TensorReader = {
    async read(tensor) {
      const values = new Float32Array(new SharedArrayBuffer(4 * elements(tensor.shape)))
      await readOne(tensor, values)
      return values
    },
    async readRows(tensor, rows, into) {
      const part = rowsOf(tensor, rows)
      if (part) await readOne(part, into)
      return part !== undefined
    },
  }

  return {
    inner,
    read: (tensor) => inTurn(() => inner.read(tensor)),
    readRows: (tensor, rows, into) => inTurn(() => inner.readRows(tensor, rows, into)),
    scopes: (tensors) =>
      inTurn(() =>
        findScopes(
          plan,
          localPool(),
          findings(),
          { math: kernels.math, progress: () => {} },
          scopesOf(
            plan.scopes,
            tensors.map(({ expr }) => expr),
          ),
        ),
      ),
    close() {
      windows.close()
      files.close()
    },
  }
}

/** Some rows of a stored tensor, as a tensor; undefined where there is no such thing. */
function rowsOf({ name, shape, expr }: AnalysisTensor, rows: Int32Array): Omit<AnalysisTensor, 'dtype'> | undefined {
  if (expr.kind !== 'read' || expr.rows || shape.length === 0) return undefined
  const part = [rows.length, ...shape.slice(1)]
  const run = !expr.view && !expr.aligned && rows.every((row, i) => row === rows[0]! + i)
  if (!run) return { name, shape: part, expr: { ...expr, aligned: { shape, by: expr.aligned?.by ?? [], rows } } }
  const bytes = expr.bytes / (shape[0] || 1)
  return {
    name,
    shape: part,
    expr: { ...expr, offset: expr.offset + (rows[0] ?? 0) * bytes, bytes: rows.length * bytes },
  }
}
