package check

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// Phase is what the API server does for a time.
type Phase struct {
	Name  string
	Share float64 // of the whole story
	begin func(context.Context, *apiServer) error
	often func(context.Context, *apiServer) error // four times a second
}

// Story is what the API server does, in order.
var Story = []Phase{
	{Name: "well", Share: 0.15},
	{Name: "restless", Share: 0.2, often: func(ctx context.Context, s *apiServer) error {
		for _, code := range []string{"503", "500", "503", "504", "drop"} {
			if err := s.fail(ctx, code, 1); err != nil {
				return err
			}
		}
		return nil
	}},
	{Name: "overloaded", Share: 0.2, begin: func(ctx context.Context, s *apiServer) error {
		return s.tell(ctx, "limit", url.Values{"in-flight": {"3"}, "each": {"60ms"}})
	}},
	{Name: "down", Share: 0.25, begin: func(ctx context.Context, s *apiServer) error {
		return s.tell(ctx, "down", nil)
	}},
	{Name: "well again", Share: 0.2, begin: func(ctx context.Context, s *apiServer) error {
		return s.tell(ctx, "up", nil)
	}},
}

func (s *apiServer) fail(ctx context.Context, code string, times int) error {
	return s.tell(ctx, "fail", url.Values{"code": {code}, "times": {strconv.Itoa(times)}})
}

// tell lets the story happen.
func tell(ctx context.Context, s *apiServer, whole time.Duration) error {
	for _, phase := range Story {
		if err := s.tell(ctx, "heal", nil); err != nil {
			return err
		}
		if phase.begin != nil {
			if err := phase.begin(ctx, s); err != nil {
				return err
			}
		}
		for end := time.Now().Add(time.Duration(phase.Share * float64(whole))); time.Now().Before(end); {
			if phase.often != nil {
				if err := phase.often(ctx, s); err != nil {
					return err
				}
			}
			if err := wait(ctx, min(time.Second/4, time.Until(end))); err != nil {
				return err
			}
		}
	}
	return nil
}
