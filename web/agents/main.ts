import '../src/base.css';
import '@xterm/xterm/css/xterm.css';
import './style.css';
import { ServerApi } from './api';
import { AgentsApp } from './app';

// The token has done its work: it is in a cookie now, and no business of the address bar's.
if (location.search !== '') history.replaceState(null, '', `/${location.hash}`);
const root = document.getElementById('app');
if (root !== null) new AgentsApp(root, new ServerApi()).start();
