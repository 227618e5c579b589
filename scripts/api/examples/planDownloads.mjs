import { plan, planDownloads } from 'terge'

// All models of the quickstart are on this machine.
console.log((await planDownloads(await plan('average.yml'))) === undefined)
