// A CGI program (WAGI): the request is in the environment; head, empty line and body go to stdout.
import { variable, write } from "./wagi";

export function _start(): void {
  write("Content-Type: text/plain; charset=utf-8\n\n");
  write("hello " + variable("HTTP_X_EDGE_CLIENT_CITY", "the world") + ", this is " + variable("EDGESIM_POP", "nowhere") + "\n");
}
