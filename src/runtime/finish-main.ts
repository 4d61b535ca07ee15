/** What a container's monitor becomes when the container has ended: `finish-main.js ROOT ID` takes it down. */
import { ContainerStore } from '../container/store.js';
import { finishContainer } from './prepare.js';

const [root, id = ''] = process.argv.slice(2);
const store = new ContainerStore(root);
const record = await store.find(id);
if (record !== undefined) await finishContainer(store, record, undefined);
