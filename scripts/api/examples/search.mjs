import { search } from 'terge'

const { best, repeat, record } = await search('search.yml', {
  set: ['search.trials=2', 'search.method=random'],
  output: 'out/search',
  commands: 'run',
  threads: 1,
})
console.log(record.trials.length, best.state, Object.keys(best.parameters))
console.log(repeat.sameDigest, repeat.score === best.score)
