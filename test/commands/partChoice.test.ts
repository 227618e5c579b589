/** Which part a task of a cluster does. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { partChoice } from '../../src/commands/support/partChoice.js'
import { Fault } from '../../src/core/diagnostics.js'

const slurm = (id: number, min: number, max: number, count = max - min + 1, step = 1) => ({
  SLURM_ARRAY_TASK_ID: `${id}`,
  SLURM_ARRAY_TASK_MIN: `${min}`,
  SLURM_ARRAY_TASK_MAX: `${max}`,
  SLURM_ARRAY_TASK_COUNT: `${count}`,
  SLURM_ARRAY_TASK_STEP: `${step}`,
})

for (const [written, env, index, of] of [
  ['3/16', {}, 3, 16],
  ['auto/16', slurm(3, 0, 15), 3, 16],
  ['auto/16', slurm(3, 1, 16), 2, 16],
  ['auto', slurm(3, 1, 16), 2, 16],
  ['auto/4', slurm(6, 0, 6, 4, 2), 3, 4],
  ['auto/1', slurm(5, 5, 5), 0, 1],
  ['auto/4', { SGE_TASK_ID: '2', SGE_TASK_FIRST: '1', SGE_TASK_LAST: '4', SGE_TASK_STEPSIZE: '1' }, 1, 4],
  ['auto/8', { JOB_COMPLETION_INDEX: '7' }, 7, 8],
  ['auto/8', { AWS_BATCH_JOB_ARRAY_INDEX: '0' }, 0, 8],
  ['auto', { SKYPILOT_NODE_RANK: '1', SKYPILOT_NUM_NODES: '2' }, 1, 2],
  ['auto', { BATCH_TASK_INDEX: '1', BATCH_TASK_COUNT: '3' }, 1, 3],
  ['auto/3', { CLOUD_RUN_TASK_INDEX: '1', CLOUD_RUN_TASK_COUNT: '3' }, 1, 3],
  // A pod of SkyPilot on Kubernetes.
  ['auto', { JOB_COMPLETION_INDEX: '1', SKYPILOT_NODE_RANK: '1', SKYPILOT_NUM_NODES: '2' }, 1, 2],
] as const)
  test(`--part ${written} with ${JSON.stringify(env)}`, () => {
    assert.equal(partChoice(written, env), { index, of })
  })

for (const [written, env, code, message] of [
  ['16/16', {}, 'bad-flag', 'there is no part 16 of 16'],
  ['0/0', {}, 'bad-flag', 'at least 1 part'],
  ['3', {}, 'bad-flag', 'must be I/N'],
  ['-1/4', {}, 'bad-flag', 'must be I/N'],
  ['all', {}, 'bad-flag', 'must be I/N'],
  ['auto/4', {}, 'no-task', 'needs a variable'],
  ['auto/4', { SGE_TASK_ID: 'undefined' }, 'no-task', 'needs a variable'],
  // Tasks that are submitted again by themselves.
  ['auto', slurm(5, 5, 5), 'no-task', '1 task was submitted'],
  ['auto/16', slurm(5, 5, 5), 'no-task', '1 task was submitted'],
  ['auto/16', slurm(7, 3, 7, 2), 'no-task', '2 of its tasks'],
  ['auto', slurm(7, 3, 7, 2), 'no-task', '2 of its tasks'],
  ['auto/16', slurm(3, 0, 7), 'no-task', 'there are 8 tasks'],
  ['auto', { JOB_COMPLETION_INDEX: '1' }, 'no-task', 'how many there are'],
  ['auto/4', { JOB_COMPLETION_INDEX: '4' }, 'bad-flag', 'there is no part 4 of 4'],
  ['auto/4', { JOB_COMPLETION_INDEX: '1', SKYPILOT_NODE_RANK: '2' }, 'no-task', 'contradict'],
] as const)
  test(`--part ${written} is refused with ${JSON.stringify(env)}`, () => {
    const error = ((): unknown => {
      try {
        return partChoice(written, env)
      } catch (error) {
        return error
      }
    })()
    assert.ok(error instanceof Fault, JSON.stringify(error))
    assert.is(error.diagnostics[0]!.code, code)
    assert.match(error.message, message)
  })

test('the analyses are a part', () => assert.is(partChoice('analyse', {}), 'analyse'))

test.run()
