/** Jobs for Slurm: a script that submits itself three times. */
import { fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { fill, nameOf, shell } from './fill.js'
import { type Engine, trustWords } from './types.js'

export const slurm: Engine = {
  extension: '.slurm.sh',
  elsewhere: false,
  seesFiles: () => true,
  submit: (file) => ['bash', file],
  write(job) {
    const { recipe, folder, program, parts, flags, last, options } = job
    const odd = [...options.keys()].find((name) => !/^[a-z][a-z0-9-]*$/.test(name))
    if (odd !== undefined)
      throw fault('bad-flag', `--option ${quote(odd)} is not a flag of sbatch`, 'write partition=NAME')
    const given = [...options].map(([name, value]) => shell(value === '' ? `--${name}` : `--${name}=${value}`))
    return fill('slurm', {
      folder: shell(folder),
      name: shell(nameOf(recipe)),
      parts: String(parts),
      options: given.join(' '),
      run: [...program, 'run', ...flags, ...trustWords(job)].map(shell).join(' '),
      recipe: shell(recipe),
      finish: last.map((word) => ` ${shell(word)}`).join(''),
    })
  },
}
