import { createTeamMemory, resetTeam } from '../../kernels/dense/team.js'
import type { Program, Work } from '../program.js'
import type { WorkerContext } from '../worker/context.js'
import type { Prepared } from '../worker/evaluate.js'
import { type Runner, teamMember } from '../worker/runner.js'
import type { Pool, PoolFiles } from './types.js'

/** More than the number of concurrent jobs. */
const KEPT_PROGRAMS = 64

/** A pool on the calling thread. It runs each task synchronously, so tasks can share the scratch space. */
export function inlinePool(
  runner: Runner,
  write: WorkerContext['write'],
  taskBytes: number,
  { release, close }: { readonly release: (files: PoolFiles) => void; readonly close: () => void },
): Pool {
  const programs = new Map<Program, { readonly prepared: Prepared; readonly team: WorkerContext['team'] }>()
  const known = (program: Program) => {
    const found = programs.get(program)
    if (found) return found
    const team = program.held && teamMember(createTeamMemory(program.held.bytes, 1), 0)
    const made = { prepared: runner.prepare(program, { write, ...(team ? { team } : {}) }), team }
    programs.set(program, made)
    for (const oldest of programs.keys()) {
      if (programs.size <= KEPT_PROGRAMS) break
      programs.delete(oldest)
      runner.drop(oldest)
    }
    return made
  }
  const run = async ({ program, ...rest }: Work) => known(program).prepared.run({ ...rest, job: 0 })
  return {
    capacity: 1,
    taskBytes,
    kept: runner.kept,
    run,
    async together(work) {
      const { team } = known(work.program)
      if (!team) throw new Error('internal: held work without a memory to hold it')
      resetTeam(team.memory)
      return { ...(await run(work)), memory: team.memory.memory.buffer }
    },
    release: async (files) => release(files),
    close: async () => close(),
  }
}
