package resource

// Event is one entry of a row's history as it is stored. It goes when its row does.
type Event struct {
	Row       string // id of the row that it happened to
	ID        string // unique among the row's events: noting the same one again is no work
	CreatedAt string // TimeFormat: when it happened, by the clock of whoever saw it
	Type      string
	Doc       []byte // the JSON object that the API answers
}

// EventQuery names events of one row. The zero value of every other field means "no restriction".
type EventQuery struct {
	Row    string
	Types  []string
	Oldest bool // the oldest first; otherwise the newest. Events of one moment are in the order of their arrival
	Limit  int  // 0: all
	// Marker is the id of the event after which to begin; ErrNotFound if the row has none of that id.
	Marker  string
	Reverse bool // the events before the marker instead (without one: the last), still in the order asked for
}
